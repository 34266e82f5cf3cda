/** One connection per bus, opened when it is first needed. */
import { Bus, type ConnectOptions } from "../dbus/bus.ts";

/** The buses of one command. */
export class Buses implements AsyncDisposable {
  readonly #buses = new Map<string, Promise<Bus>>();

  /** @param options for every connection */
  constructor(private readonly options: ConnectOptions = {}) {}

  /** @throws {BusError} when the bus cannot be reached */
  async get(where: string): Promise<Bus> {
    const known = this.#buses.get(where);
    const bus = await (known ?? this.#connect(where));
    if (bus.closedBecause === null) return bus;
    // Somebody else who waits for the same bus has connected again already.
    const newer = this.#buses.get(where);
    if (newer !== undefined && newer !== known) return await this.get(where);
    // A bus that was restarted is connected to again, after Ctrl-C as well: undoing needs it.
    const { signal: _stop, ...options } = this.options;
    return await this.#connect(where, options);
  }

  #connect(where: string, options = this.options): Promise<Bus> {
    const bus = Bus.connect(where, options);
    this.#buses.set(where, bus);
    // A failure is told once, not kept: the bus may be there when it is asked for again.
    bus.catch(() => this.#buses.get(where) === bus && this.#buses.delete(where));
    return bus;
  }

  /** Calls made so far on all buses. */
  async roundTrips(): Promise<number> {
    const opened = await Promise.allSettled(this.#buses.values());
    return opened.reduce(
      (sum, bus) => sum + (bus.status === "fulfilled" ? bus.value.roundTrips : 0),
      0,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bus of await Promise.allSettled(this.#buses.values())) {
      if (bus.status === "fulfilled") await bus.value[Symbol.asyncDispose]();
    }
  }
}
