/**
 * Reads a service's state through properties and safe methods only, with as few round
 * trips as the interface allows: one GetAll per object and interface, each method call once.
 */
import type { Bus, CallOptions } from "../dbus/bus.ts";
import { BusError } from "../dbus/bus_error.ts";
import { expectType } from "../dbus/call.ts";
import { parseSignature } from "../dbus/names.ts";
import { type Json, type TypedValue, ValueError } from "../dbus/value.ts";
import type { MappedRead } from "../plugin/mapping.ts";
import { type Bindings, buildArgs, fillPath, MissingBinding } from "./bindings.ts";
import { canonicalJson } from "./canonical.ts";
import type { StatePlugin } from "./plugins.ts";
import { unknown, wrongType } from "./model.ts";

/** What reading gave: a value, or `{"$unknown": "why"}`. */
export type ReadResult = Json;

const OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager";

/** Failures after which nothing else of the service can be read either. */
const FATAL = ["dbus_closed", "dbus_no_service", "dbus_timeout", "dbus_unreachable"];

/** An interface's properties by name, each with the type that it came with. */
export type Properties = { readonly [name: string]: TypedValue };
/** Objects by path, each with its interfaces and their properties. */
export type ManagedObjects = {
  readonly [path: string]: { readonly [iface: string]: Properties };
};

/** One pass over one plugin's state. */
export class StateReader {
  readonly #properties = new Map<string, Promise<Properties | BusError>>();
  readonly #managed = new Map<string, Promise<ManagedObjects | BusError>>();
  readonly #single = new Map<string, Promise<ReadResult>>();
  readonly #calls = new Map<string, Promise<ReadResult>>();

  constructor(
    readonly plugin: StatePlugin,
    private readonly bus: Bus,
    private readonly signal?: AbortSignal,
  ) {}

  /**
   * What a `read`, `keys` or `list` of the mapping gives.
   *
   * @param type the D-Bus type that it must have; undefined: any
   * @throws {BusError} when the service is gone, hangs or the bus died
   */
  async read(read: MappedRead, bindings: Bindings, type?: string): Promise<ReadResult> {
    const { service } = this.plugin.mapping;
    try {
      if (read.property !== undefined) {
        const path = fillPath(read.path ?? service.path, bindings);
        const iface = read.interface ?? service.interface;
        return await this.property(path, iface, read.property, type);
      }
      return await this.#method(read, bindings, type);
    } catch (error) {
      // A mapping that leaves an argument open, or gives what does not fit its type,
      // concerns this value only.
      if (error instanceof MissingBinding) return unknown(`to read it, ${error.message}`);
      if (error instanceof ValueError) return unknown(error.message);
      throw error;
    }
  }

  /** A property, from one GetAll of its interface where that works. */
  async property(
    path: string,
    iface: string,
    name: string,
    type?: string,
  ): Promise<ReadResult> {
    const all = await this.properties(path, iface);
    if (!(all instanceof BusError) && Object.hasOwn(all, name)) {
      return checkedValue(all[name]!, type, name);
    }
    // One failing getter fails GetAll; the others can still be read one by one.
    return await memo(this.#single, `${path}\0${iface}\0${name}`, async () => {
      try {
        const options = this.#options();
        const found = await this.bus.get(
          this.plugin.mapping.service.name,
          path,
          iface,
          name,
          options,
        );
        return checkedValue(found, type, name);
      } catch (error) {
        return unknown(reasonOf(error));
      }
    });
  }

  /** All properties of an object's interface, or why they cannot be had at once. */
  properties(path: string, iface: string): Promise<Properties | BusError> {
    return memo(this.#properties, `${path}\0${iface}`, async () => {
      try {
        const { name } = this.plugin.mapping.service;
        return await this.bus.getAll(name, path, iface, this.#options());
      } catch (error) {
        reasonOf(error);
        return error as BusError;
      }
    });
  }

  /** All objects below an ObjectManager with all their properties, or why not. */
  managed(path: string): Promise<ManagedObjects | BusError> {
    return memo(this.#managed, path, async () => {
      try {
        const { name } = this.plugin.mapping.service;
        return await managedObjects(this.bus, name, path, this.#options());
      } catch (error) {
        reasonOf(error);
        return error as BusError;
      }
    });
  }

  #method(read: MappedRead, bindings: Bindings, type?: string): Promise<ReadResult> {
    const { mapping } = this.plugin;
    const method = mapping.methods.get(read.method!)!;
    const { args, signature } = buildArgs(method, { args: read.args ?? {} }, bindings);
    const path = fillPath(read.path ?? method.path ?? mapping.service.path, bindings);
    const iface = read.interface ?? method.interface ?? mapping.service.interface;
    const wanted = [read.out ?? 0, type ?? ""];
    const key = canonicalJson([path, iface, method.dbusMethod, args, wanted]);
    return memo(this.#calls, key, async () => {
      try {
        const reply = await this.bus.call(
          {
            destination: mapping.service.name,
            path,
            interface: iface,
            member: method.dbusMethod,
            signature,
            args,
          },
          {
            ...this.#options(),
            ...(method.timeoutMs !== undefined && { timeoutMs: method.timeoutMs }),
          },
        );
        const out = read.out ?? 0, value = reply.values[out];
        if (value === undefined) {
          return unknown(`${method.dbusMethod} returned no value ${out}`);
        }
        const actual = parseSignature(reply.signature)[out]!.text;
        const expected = type ?? method.returns[out]?.type ?? actual;
        return actual === expected
          ? value
          : unknown(wrongType(`what ${method.dbusMethod} returned`, actual, expected));
      } catch (error) {
        return unknown(reasonOf(error));
      }
    });
  }

  #options() {
    return this.signal ? { signal: this.signal } : {};
  }
}

/**
 * All objects below an ObjectManager, by one call.
 * Source: D-Bus specification, "org.freedesktop.DBus.ObjectManager".
 *
 * @param path the ObjectManager's
 * @throws {BusError}
 */
export async function managedObjects(
  bus: Bus,
  service: string,
  path: string,
  options: CallOptions,
): Promise<ManagedObjects> {
  const reply = await bus.call({
    destination: service,
    path,
    interface: OBJECT_MANAGER,
    member: "GetManagedObjects",
  }, options);
  const [objects] = expectType(reply, "a{oa{sa{sv}}}", `the objects of ${service}`);
  return objects as unknown as ManagedObjects;
}

/** A property's value, when it has the type that the mapping says. */
export function checkedValue(
  found: TypedValue,
  type: string | undefined,
  what: string,
): ReadResult {
  if (type === undefined || type === found.$type) return found.value;
  return unknown(wrongType(what, found.$type, type));
}

/** A failure that concerns one value as its reason; any other is thrown on. */
function reasonOf(error: unknown): string {
  if (error instanceof BusError && !FATAL.includes(error.code)) return error.message;
  throw error;
}

function memo<T>(
  map: Map<string, Promise<T>>,
  key: string,
  make: () => Promise<T>,
): Promise<T> {
  let found = map.get(key);
  if (!found) {
    found = make();
    map.set(key, found);
  }
  return found;
}
