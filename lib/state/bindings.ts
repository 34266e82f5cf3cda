/**
 * Filling a call's arguments. What a mapping may refer to: `$key`, `$value`, `$object`, the
 * names of a set's item parts, of a record's or entry's fields, each with a `$` before it;
 * `$$` is a plain `$`.
 */
import { InputError } from "../base/errors.ts";
import { isObject, type Json } from "../dbus/value.ts";
import type {
  MappedArg,
  MappedMethod,
  MappedState,
  MappedWrite,
  Mapping,
} from "../plugin/mapping.ts";
import type { PlannedCall } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

/** Values by the name under which a mapping refers to them. */
export type Bindings = { readonly [name: string]: Json };

/** A value that a mapping refers to and nobody has. */
export class MissingBinding extends Error {
  override readonly name = "MissingBinding";
  constructor(readonly binding: string) {
    super(`nothing gives "${binding}"`);
  }
}

/** What stands for a value that nobody has. */
export type OnMissing = (name: string) => Json;

const refuse: OnMissing = (name) => {
  throw new MissingBinding(name);
};

/** Replaces `$name` in a mapping's value. @throws {MissingBinding} */
export function fill(value: unknown, bindings: Bindings, missing = refuse): Json {
  if (typeof value === "string") {
    if (value.startsWith("$$")) return value.slice(1);
    if (!value.startsWith("$")) return value;
    const name = value.slice(1);
    if (Object.hasOwn(bindings, name)) return bindings[name]!;
    return missing(name);
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, bindings, missing));
  if (!isObject(value)) return value as Json;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => // A variant's type marker is no reference, and neither is what marks bytes.
    [key, key === "$type" || key === "$bytes" ? child : fill(child, bindings, missing)]),
  );
}

/** Replaces `{key}` and `{object}` in an object path. @throws {MissingBinding} */
export function fillPath(path: string, bindings: Bindings, missing = refuse): string {
  return path.replaceAll(/\{(key|object)\}/g, (whole, name: string) => {
    const value = bindings[name];
    if (typeof value !== "string") {
      missing(name);
      return whole;
    }
    // A key must not climb into other objects.
    if (name === "key" && !/^[A-Za-z0-9_]+$/.test(value)) {
      throw new InputError(
        "bad_state",
        `The name ${JSON.stringify(value)} cannot be part of an object path`,
        { hint: "use letters, digits and underscores" },
      );
    }
    return value;
  });
}

/**
 * A method's arguments, each from the first that has it: the mapping's `args`, `arg`
 * (the value), a set's item part, the binding of the argument's own name, the argument's
 * fixed `value`; at last, the only one left takes the value.
 *
 * @throws {MissingBinding} when one has nothing
 */
export function buildArgs(
  method: MappedMethod,
  write: { args: Readonly<Record<string, unknown>>; arg?: string },
  bindings: Bindings,
  missing = refuse,
): { args: Json[]; signature: string } {
  const open = method.args.filter((arg) =>
    !Object.hasOwn(write.args, arg.name) && write.arg !== arg.name &&
    !Object.hasOwn(bindings, arg.name) && arg.value === undefined
  );
  const args = method.args.map((arg) => {
    if (Object.hasOwn(write.args, arg.name)) {
      return fill(write.args[arg.name], bindings, missing);
    }
    if (write.arg === arg.name) return fill("$value", bindings, missing);
    if (Object.hasOwn(bindings, arg.name)) return bindings[arg.name]!;
    if (arg.value !== undefined) return arg.value as Json;
    if (open.length === 1 && Object.hasOwn(bindings, "value")) return bindings.value!;
    return missing(arg.name);
  });
  return { args, signature: method.args.map((arg) => typeOf(method, arg)).join("") };
}

function typeOf(method: MappedMethod, arg: MappedArg): string {
  if (arg.type !== undefined) return arg.type;
  throw new InputError(
    "bad_mapping",
    `The argument ${arg.name} of ${method.name} has no type, and the service names none`,
    { hint: `write args = [{ name = "${arg.name}", type = "s" }] in the mapping` },
  );
}

/** The type of the argument that takes the value, or the item's parts; undefined if none. */
export function valueType(
  mapping: Mapping,
  write: MappedWrite | undefined,
  name: string | undefined,
): string | undefined {
  const method = write?.method === undefined
    ? undefined
    : mapping.methods.get(write.method);
  if (!method || !write) return undefined;
  if (name !== undefined) return method.args.find((arg) => arg.name === name)?.type;
  const target = write.arg ??
    Object.entries(write.args).find(([, value]) => value === "$value")?.[0];
  if (target !== undefined) return method.args.find((arg) => arg.name === target)?.type;
  const open = method.args.filter((arg) =>
    arg.value === undefined && !Object.hasOwn(write.args, arg.name)
  );
  return open.length === 1 ? open[0]!.type : undefined;
}

/** The part of a state that makes a change. @throws {TypeError} when it has none */
export function partOf(state: MappedState, part: string): MappedWrite {
  const write = part.startsWith("fields.")
    ? state.fields.get(part.slice("fields.".length))?.write
    : state[part as "write" | "add" | "remove" | "on" | "off" | "create" | "delete"];
  if (!write) throw new TypeError(`${state.name} has no ${part}`);
  return write;
}

/**
 * The call of one part of a state.
 *
 * @param late the key of a collection's entry: what is missing will be known later
 * @throws {MissingBinding} when something is missing and nothing is late
 */
export function buildCall(
  plugin: StatePlugin,
  state: MappedState,
  part: string,
  bindings: Bindings,
  late?: string,
): PlannedCall {
  const { mapping } = plugin, { service } = mapping;
  const write = partOf(state, part);
  let isLate = false;
  const missing: OnMissing = (name) => {
    if (late === undefined) throw new MissingBinding(name);
    isLate = true;
    return { $known_after: "create" };
  };
  const method = mapping.methods.get(write.method ?? "");
  const path = write.path ?? method?.path ?? service.path;
  const call = {
    bus: service.bus,
    destination: service.name,
    path: fillPath(path, bindings, missing),
    ...(method
      ? methodCall(plugin, write, method, bindings, missing)
      : propertyCall(plugin, state, part, bindings, missing)),
  };
  return isLate ? { ...call, late: { part, key: late!, bindings } } : call;
}

function methodCall(
  plugin: StatePlugin,
  write: MappedWrite,
  method: MappedMethod,
  bindings: Bindings,
  missing: OnMissing,
) {
  return {
    interface: write.interface ?? method.interface ?? plugin.mapping.service.interface,
    member: method.dbusMethod,
    ...buildArgs(method, write, bindings, missing),
    method: method.name,
    ok_errors: method.okErrors,
    timeout_ms: method.timeoutMs ?? null,
  };
}

function propertyCall(
  plugin: StatePlugin,
  state: MappedState,
  part: string,
  bindings: Bindings,
  missing: OnMissing,
) {
  const write = partOf(state, part);
  const field = state.fields.get(part.replace(/^fields\./, ""));
  const iface = write.interface ?? field?.interface ?? state.objectInterface ??
    plugin.mapping.service.interface;
  const type = field?.type ?? state.type!;
  const value = { $type: type, value: fill("$value", bindings, missing) };
  return {
    interface: "org.freedesktop.DBus.Properties",
    member: "Set",
    signature: "ssv",
    args: [iface, write.property!, value],
    method: `property ${write.property}`,
    ok_errors: [],
    timeout_ms: null,
  };
}
