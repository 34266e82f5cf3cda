/**
 * Reads a service's state through properties and safe methods only, with as few round
 * trips as the interface allows: one GetAll per object and interface, each method call once.
 */
import type { Bus } from "../dbus/bus.ts";
import { BusError } from "../dbus/bus_error.ts";
import type { Json } from "../dbus/value.ts";
import type { MappedRead } from "../plugin/mapping.ts";
import { type Bindings, buildArgs, fillPath } from "./bindings.ts";
import { canonicalJson } from "./canonical.ts";
import type { StatePlugin } from "./plugins.ts";
import { unknown } from "./model.ts";

/** What reading gave: a value, or `{"$unknown": "why"}`. */
export type ReadResult = Json;

/** Failures after which nothing else of the service can be read either. */
const FATAL = ["dbus_closed", "dbus_no_service", "dbus_timeout", "dbus_unreachable"];

/** One pass over one plugin's state. */
export class StateReader {
  readonly #properties = new Map<string, Promise<Record<string, Json> | BusError>>();
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
   * @throws {BusError} when the service is gone, hangs or the bus died
   */
  read(read: MappedRead, bindings: Bindings): Promise<ReadResult> {
    const { service } = this.plugin.mapping;
    if (read.property !== undefined) {
      const path = fillPath(read.path ?? service.path, bindings);
      return this.property(path, read.interface ?? service.interface, read.property);
    }
    return this.#method(read, bindings);
  }

  /** A property, from one GetAll of its interface where that works. */
  async property(path: string, iface: string, name: string): Promise<ReadResult> {
    const all = await this.properties(path, iface);
    if (!(all instanceof BusError) && Object.hasOwn(all, name)) return all[name]!;
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
        return found.value;
      } catch (error) {
        return unknown(reasonOf(error));
      }
    });
  }

  /** All properties of an object's interface, or why they cannot be had at once. */
  properties(path: string, iface: string): Promise<Record<string, Json> | BusError> {
    return memo(this.#properties, `${path}\0${iface}`, async () => {
      try {
        const { name } = this.plugin.mapping.service;
        const all = await this.bus.getAll(name, path, iface, this.#options());
        return Object.fromEntries(
          Object.entries(all).map(([key, { value }]) => [key, value]),
        );
      } catch (error) {
        reasonOf(error);
        return error as BusError;
      }
    });
  }

  #method(read: MappedRead, bindings: Bindings): Promise<ReadResult> {
    const { mapping } = this.plugin;
    const method = mapping.methods.get(read.method!)!;
    const { args, signature } = buildArgs(method, { args: read.args ?? {} }, bindings);
    const path = fillPath(read.path ?? method.path ?? mapping.service.path, bindings);
    const iface = read.interface ?? method.interface ?? mapping.service.interface;
    const key = canonicalJson([path, iface, method.dbusMethod, args, read.out ?? 0]);
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
        const value = reply.values[read.out ?? 0];
        return value === undefined
          ? unknown(`${method.dbusMethod} returned no value ${read.out ?? 0}`)
          : value;
      } catch (error) {
        return unknown(reasonOf(error));
      }
    });
  }

  #options() {
    return this.signal ? { signal: this.signal } : {};
  }
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
