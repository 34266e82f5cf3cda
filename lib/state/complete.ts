/** Fills in the argument types that a seed-style mapping leaves out, by introspection. */
import type { Bus } from "../dbus/bus.ts";
import { BusError } from "../dbus/bus_error.ts";
import { introspect, type IntrospectedMethod } from "../dbus/introspect.ts";
import type { MappedMethod, MappedState } from "../plugin/mapping.ts";
import type { StatePlugin } from "./plugins.ts";

/** The methods that the states of a plugin refer to. */
function referred(states: Iterable<MappedState>): Set<string> {
  const names = new Set<string>();
  for (const state of states) {
    const { read, keys, list, write, add, remove, on, off, create } = state;
    const parts = [read, keys, list, write, add, remove, on, off, create, state.delete];
    const writes = [...state.fields.values()].map((field) => field.write);
    for (const part of [...parts, ...writes]) {
      if (part?.method !== undefined) names.add(part.method);
    }
  }
  return names;
}

/**
 * The plugin with every argument type known that introspection tells; unchanged, and no
 * call made, where the mapping says them all.
 */
export async function completeTypes(plugin: StatePlugin, bus: Bus): Promise<StatePlugin> {
  const { mapping } = plugin, { service } = mapping;
  const names = referred(mapping.states.values());
  const open = [...mapping.methods.values()].filter((method) =>
    names.has(method.name) && method.args.some((arg) => arg.type === undefined)
  );
  if (open.length === 0) return plugin;
  const methods = new Map(mapping.methods);
  for (const method of open) {
    const found = await lookUp(bus, service.name, method.path ?? service.path, {
      iface: method.interface ?? service.interface,
      member: method.dbusMethod,
    });
    if (found) methods.set(method.name, withTypes(method, found));
  }
  return { ...plugin, mapping: { ...mapping, methods } };
}

async function lookUp(
  bus: Bus,
  service: string,
  path: string,
  wanted: { iface: string; member: string },
): Promise<IntrospectedMethod | undefined> {
  // The path of an object that is not known yet cannot be looked at.
  if (path.includes("{")) return undefined;
  try {
    const { data } = await introspect(bus, service, path);
    return data.interfaces.find(({ name }) => name === wanted.iface)
      ?.methods.find(({ name }) => name === wanted.member);
  } catch (error) {
    if (error instanceof BusError && error.code === "dbus_unknown") return undefined;
    throw error;
  }
}

function withTypes(method: MappedMethod, found: IntrospectedMethod): MappedMethod {
  if (found.in.length !== method.args.length) return method;
  const args = method.args.map((arg, i) => ({
    ...arg,
    type: arg.type ?? found.in[i]!.type,
  }));
  return { ...method, args };
}
