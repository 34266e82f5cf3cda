/**
 * The one module that touches dbus-next (0.10.2, unmaintained, so pinned and guarded).
 *
 * dbus-next connects and authenticates. What it does wrong is done here instead, on its
 * socket:
 * - it parses what arrives with a parser that throws a RangeError out of an event handler
 *   on garbage, and loses `__proto__` keys: messages are framed and read by Reader;
 * - it cannot marshal INT64_MIN, NaN, `a{us}`: messages are written by Writer;
 * - it never settles a call when the bus dies: `closed` tells, once, why;
 * - a failed Hello is rethrown where nobody can catch it: Hello is said here;
 * - its main module loads an XML library and half of node's: only its connection is
 *   imported, which halves what a command pays.
 */
import type { Address } from "./address.ts";
import {
  ERROR,
  Frames,
  type Message,
  messageBytes,
  METHOD_CALL,
  METHOD_RETURN,
} from "./message.ts";
import { ProtocolError } from "./unmarshal.ts";

/** What a connection tells its owner. */
export interface TransportEvents {
  /** A reply, a signal or a call that arrived. */
  message(message: Message): void;
  /** The connection is over; told once. */
  closed(why: string): void;
}

/** An authenticated connection that has said Hello. */
export interface Transport {
  readonly uniqueName: string;
  /** Sends a message, gives its serial. */
  send(message: Message): number;
  close(): void;
}

// The parts of dbus-next that are used; it has types, but not for its inner connection.
interface Stream {
  on(event: string, listener: (...args: never[]) => void): Stream;
  once(event: string, listener: (...args: never[]) => void): Stream;
  read(size?: number): Uint8Array | null;
  write(bytes: Uint8Array): boolean;
  end(): void;
  destroy(): void;
  readonly writable: boolean;
}
interface Connection {
  readonly stream: Stream;
  on(event: string, listener: (argument: never) => void): void;
  once(event: string, listener: () => void): void;
}
type CreateConnection = (options: {
  readonly busAddress: string;
  readonly authMethods: readonly string[];
}) => Connection;

const HELLO = {
  type: METHOD_CALL,
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
  member: "Hello",
  destination: "org.freedesktop.DBus",
};
const HELLO_SERIAL = 1;

/**
 * Connects to a bus.
 *
 * @param address where
 * @param events told from now on
 * @param signal gives the attempt up
 * @throws {Error} with the reason, when the attempt fails
 */
export async function openTransport(
  address: Address,
  events: TransportEvents,
  signal: AbortSignal,
): Promise<Transport> {
  const module = await import("dbus-next/lib/connection.js") as { default: unknown };
  const createConnection = module.default as CreateConnection;
  signal.throwIfAborted();
  // "socket" makes dbus-next use node:net at once; with "path" it tries a native addon.
  const busAddress = address.kind === "unix"
    ? `unix:socket=${address.path}`
    : `tcp:host=${address.host},port=${address.port}`;
  const authMethods = ["EXTERNAL", "ANONYMOUS"];
  const guarded = new GuardedConnection(
    createConnection({ busAddress, authMethods }),
    events,
  );
  const abort = () => guarded.end("the attempt was given up");
  signal.addEventListener("abort", abort);
  try {
    await guarded.opened;
    return guarded;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** dbus-next's connection with its reader and writer replaced and every failure told. */
class GuardedConnection implements Transport {
  readonly opened: Promise<void>;
  uniqueName = "";
  readonly #connection: Connection;
  readonly #settle = Promise.withResolvers<void>();
  #serial = HELLO_SERIAL;
  #open = false;
  #over = false;

  constructor(connection: Connection, private readonly events: TransportEvents) {
    this.#connection = connection;
    this.opened = this.#settle.promise;
    const { stream } = connection;
    connection.on("error", (error: unknown) => this.end(text(error)));
    stream.on("end", () => this.end("the bus closed the connection"));
    stream.on("close", () => this.end("the connection was closed"));
    // Authenticated; in the same turn it begins to read, which is where we step in.
    connection.once("connect", () => {
      this.#replaceReader();
      stream.write(messageBytes({ ...HELLO, serial: HELLO_SERIAL }));
    });
  }

  send(message: Message): number {
    const { stream } = this.#connection;
    if (this.#over || !stream.writable) throw new Error("the connection is closed");
    const serial = ++this.#serial;
    stream.write(messageBytes({ ...message, serial }));
    return serial;
  }

  close(): void {
    this.#over = true;
    this.#connection.stream.end();
    this.#connection.stream.destroy();
  }

  /** Ends the connection, or the attempt, for a reason. */
  end(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#connection.stream.destroy();
    if (this.#open) this.events.closed(why);
    else this.#settle.reject(new Error(why));
  }

  #receive(message: Message): void {
    if (this.#over) return;
    if (this.#open) return this.events.message(message);
    // Only the answer to Hello may come first.
    if (message.replySerial !== HELLO_SERIAL) return;
    const [name] = message.body ?? [];
    if (message.type === ERROR) this.end(`Hello was refused: ${message.errorName}`);
    else if (message.type === METHOD_RETURN && typeof name === "string") {
      this.uniqueName = name;
      this.#open = true;
      this.#settle.resolve();
    }
  }

  #replaceReader(): void {
    const { stream } = this.#connection;
    const original = stream.on.bind(stream);
    const frames = new Frames(stream);
    const readAll = () => {
      try {
        frames.readAll((message) => this.#receive(message));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.end(`the bus broke the protocol: ${error.message}`);
      }
    };
    stream.on = (event: string, listener) => {
      if (event !== "readable") return original(event, listener);
      stream.on = original;
      // What came in one piece with the handshake's end is announced no second time.
      queueMicrotask(readAll);
      return original("readable", readAll);
    };
  }
}

function text(error: unknown): string {
  if (error instanceof Error) return error.message;
  return error instanceof Uint8Array ? new TextDecoder().decode(error) : String(error);
}
