/**
 * A connection to a message bus: calls with timeouts, abort and bounded concurrency, and
 * signals whose match rules are removed again.
 */
import { busAddress, type Environment, parseAddresses } from "./address.ts";
import { BusError, callError, hintOf, oneLine } from "./bus_error.ts";
import {
  type Call,
  type CallOptions,
  checkNames,
  describe,
  errorOf,
  expectType,
  type Reply,
  sendError,
  toMessage,
} from "./call.ts";
import { Gate } from "./gate.ts";
import { type SignalHandler, type SignalRule, Signals } from "./signals.ts";
import { ERROR, type Message, METHOD_RETURN, SIGNAL } from "./message.ts";
import { openTransport, type Transport } from "./transport.ts";
import type { Json } from "./value.ts";

export type { Call, CallOptions, Reply } from "./call.ts";

/** How long a call may take, as in libdbus. */
export const DEFAULT_TIMEOUT_MS = 25_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Calls under way at once; the system bus lets one connection wait for 128 replies. */
const MAX_IN_FLIGHT = 64;
const NO_REPLY = 1;
const DRIVER = "org.freedesktop.DBus", DRIVER_PATH = "/org/freedesktop/DBus";
const PROPERTIES = "org.freedesktop.DBus.Properties";

/** Options of a connection. */
export interface ConnectOptions {
  readonly signal?: AbortSignal;
  /** For connecting; default 5 s. */
  readonly connectTimeoutMs?: number;
  /** For every call that does not say otherwise; default 25 s. */
  readonly timeoutMs?: number;
  readonly maxInFlight?: number;
  readonly env?: Environment;
}

interface Pending {
  settle(reply: Message | Error): void;
}

/** Answers calls made to this connection. */
export type CallHandler = (call: Message) => void;

/** A connection to a message bus. */
export class Bus implements AsyncDisposable {
  #transport: Transport | null = null;
  #closed: string | null = null;
  readonly #pending = new Map<number, Pending>();
  readonly #gate: Gate;
  readonly #timeoutMs: number;
  readonly #signals = new Signals(this);
  readonly #closeListeners = new Set<(why: string) => void>();
  #handler: CallHandler | null = null;
  /** Calls sent so far: each is one round trip. */
  roundTrips = 0;

  private constructor(readonly address: string, options: ConnectOptions) {
    this.#gate = new Gate(options.maxInFlight ?? MAX_IN_FLIGHT);
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /**
   * Connects.
   *
   * @param where `system`, `session`, or a D-Bus address
   * @throws {InputError} when the address cannot be used
   * @throws {BusError} `dbus_unreachable` with the reason of each address
   */
  static async connect(where: string, options: ConnectOptions = {}): Promise<Bus> {
    const list = busAddress(where, options.env);
    const bus = new Bus(list, options);
    const reasons: string[] = [];
    for (const address of parseAddresses(list)) {
      const timeout = AbortSignal.timeout(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
      const signal = options.signal
        ? AbortSignal.any([timeout, options.signal])
        : timeout;
      const events = {
        message: (message: Message) => bus.#receive(message),
        closed: (why: string) => bus.#close(why),
      };
      try {
        bus.#transport = await openTransport(address, events, signal);
        return bus;
      } catch (error) {
        options.signal?.throwIfAborted();
        reasons.push(
          timeout.aborted ? "no answer in time" : oneLine((error as Error).message),
        );
      }
    }
    throw new BusError(
      "dbus_unreachable",
      `Cannot connect to the ${
        where === "system" || where === "session" ? `${where} bus` : "bus"
      } at ${list}: ${reasons.join("; ")}`,
      hintOf("dbus_unreachable"),
    );
  }

  /** This connection's unique name, e.g. `:1.42`. */
  get uniqueName(): string {
    return this.#transport?.uniqueName ?? "";
  }

  /** Why the connection is over; null while it is open. */
  get closedBecause(): string | null {
    return this.#closed;
  }

  /**
   * Calls a method and waits for its answer.
   *
   * @throws {ValueError} when an argument does not fit its type
   * @throws {BusError} every other failure, typed
   */
  async call(call: Call, options: CallOptions = {}): Promise<Reply> {
    checkNames(call);
    options.signal?.throwIfAborted();
    using _slot = await this.#gate.enter(options.signal);
    // Entering took a turn of the loop; an abort in it has no listener yet.
    options.signal?.throwIfAborted();
    const reply = await this.#send(call, options);
    if (reply.type === ERROR) throw errorOf(call, reply);
    return {
      signature: reply.signature ?? "",
      values: reply.body ?? [],
      sender: reply.sender ?? "",
    };
  }

  #send(call: Call, options: CallOptions): Promise<Message> {
    const what = describe(call);
    return new Promise((resolve, reject) => {
      if (this.#closed !== null || !this.#transport) {
        return reject(callError("dbus_closed", what, this.#closed ?? "not connected"));
      }
      let serial = 0;
      const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
      const settle = (reply: Message | Error) => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", abort);
        this.#pending.delete(serial);
        if (reply instanceof Error) reject(reply);
        else resolve(reply);
      };
      const abort = () => settle(options.signal!.reason);
      const timer = setTimeout(
        () => settle(callError("dbus_timeout", what, `no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      try {
        this.roundTrips++;
        serial = this.#transport.send(toMessage(call, options));
      } catch (error) {
        return settle(sendError(what, error));
      }
      this.#pending.set(serial, { settle });
      options.signal?.addEventListener("abort", abort);
    });
  }

  #receive(message: Message): void {
    if (message.type === METHOD_RETURN || message.type === ERROR) {
      this.#pending.get(message.replySerial ?? 0)?.settle(message);
    } else if (message.type === SIGNAL) this.#signals.dispatch(message);
    else if (this.#handler) this.#handler(message);
    else if (!((message.flags ?? 0) & NO_REPLY)) this.#refuse(message);
  }

  #refuse(call: Message): void {
    this.reply(call, {
      errorName: "org.freedesktop.DBus.Error.UnknownMethod",
      signature: "s",
      body: ["This connection has no methods"],
    });
  }

  #close(why: string): void {
    if (this.#closed !== null) return;
    this.#closed = why;
    for (const pending of [...this.#pending.values()]) {
      pending.settle(
        new BusError("dbus_closed", `The bus went away: ${why}`, hintOf("dbus_closed")),
      );
    }
    for (const listener of this.#closeListeners) listener(why);
  }

  /**
   * Told once when the bus goes away, soon after where it is gone already; not when this
   * side closes.
   */
  onClosed(listener: (why: string) => void): void {
    this.#closeListeners.add(listener);
    const why = this.#closed;
    if (why === null || !this.#transport) return;
    queueMicrotask(() => {
      if (this.#closeListeners.has(listener)) listener(why);
    });
  }

  /** Answers calls to this connection from now on; null refuses them. */
  handleCalls(handler: CallHandler | null): void {
    this.#handler = handler;
  }

  /** Answers one call: with `errorName` an error, else a return. */
  reply(call: Message, answer: Partial<Message>): void {
    if ((call.flags ?? 0) & NO_REPLY || this.#closed !== null) return;
    this.#transport?.send({
      type: answer.errorName === undefined ? METHOD_RETURN : ERROR,
      flags: NO_REPLY,
      replySerial: call.serial!,
      ...(call.sender !== undefined && { destination: call.sender }),
      ...answer,
    });
  }

  /** Sends a signal. */
  emit(signal: Omit<Call, "destination">): void {
    const { path, member, signature = "", args = [] } = signal;
    this.#transport?.send({
      type: SIGNAL,
      flags: NO_REPLY,
      path,
      interface: signal.interface,
      member,
      signature,
      body: args,
    });
  }

  /** A property's value, unwrapped, with its type. */
  async get(
    destination: string,
    path: string,
    iface: string,
    property: string,
    options?: CallOptions,
  ): Promise<{ $type: string; value: Json }> {
    const reply = await this.call({
      destination,
      path,
      interface: PROPERTIES,
      member: "Get",
      signature: "ss",
      args: [iface, property],
    }, options);
    return expectType(reply, "v", `${iface}.${property}`)[0] as {
      $type: string;
      value: Json;
    };
  }

  /** All properties of an interface, each with its type. */
  async getAll(
    destination: string,
    path: string,
    iface: string,
    options?: CallOptions,
  ): Promise<Record<string, { $type: string; value: Json }>> {
    const reply = await this.call({
      destination,
      path,
      interface: PROPERTIES,
      member: "GetAll",
      signature: "s",
      args: [iface],
    }, options);
    return expectType(reply, "a{sv}", `all of ${iface}`)[0] as unknown as Record<
      string,
      { $type: string; value: Json }
    >;
  }

  /** Calls a method of the bus itself. */
  async driver(
    member: string,
    signature = "",
    args: readonly Json[] = [],
  ): Promise<Json> {
    const reply = await this.call({
      destination: DRIVER,
      path: DRIVER_PATH,
      interface: DRIVER,
      member,
      signature,
      args,
    });
    return reply.values[0] ?? null;
  }

  /**
   * Receives signals until the subscription is disposed; then the match rule is removed.
   */
  subscribe(rule: SignalRule, handler: SignalHandler): Promise<AsyncDisposable> {
    return this.#signals.subscribe(rule, handler);
  }

  /** Closes the connection; calls under way fail. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closeListeners.clear();
    this.#close("this side closed it");
    this.#transport?.close();
    this.#transport = null;
    return Promise.resolve();
  }
}
