/**
 * The one module that touches dbus-next (0.10.2, unmaintained, so pinned and guarded).
 *
 * dbus-next connects, authenticates, says Hello, counts serials and matches replies. What
 * it does wrong is done here instead, on its own socket:
 * - it parses what arrives with a parser that throws a RangeError out of an event handler
 *   on garbage, and loses `__proto__` keys: messages are framed and read by Reader;
 * - it cannot marshal INT64_MIN, NaN, `a{us}`: messages are written by Writer;
 * - it never settles a call when the bus dies: `onClosed` tells, once, why;
 * - a failed Hello is rethrown where nobody can catch it: it is held back here.
 */
import { marshalBody, Writer } from "./marshal.ts";
import { parseSignature } from "./names.ts";
import { ProtocolError, Reader, unmarshalBody } from "./unmarshal.ts";
import { isTyped, type Json } from "./value.ts";
import type { Address } from "./address.ts";

/** A message as both sides see it; `body` in the notation of value.ts. */
export interface Message {
  type: number;
  flags?: number;
  serial?: number;
  replySerial?: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  destination?: string;
  sender?: string;
  signature?: string;
  body?: readonly Json[];
}

export const METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4;
/** Longest message, by the specification. */
const MAX_MESSAGE_BYTES = 128 * 1024 * 1024;
const FIXED_HEADER_BYTES = 16;
const LITTLE = 0x6c, BIG = 0x42;
const BAD_REPLY = "org.opdbus.Error.BadReply";

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
  stream: Stream;
  message: (message: Message) => void;
  once(event: string, listener: () => void): void;
  emit(event: string, ...args: unknown[]): void;
}
interface NextBus {
  readonly name: string | null;
  readonly _connection: Connection;
  newSerial(): number;
  on(event: string, listener: (argument: never) => void): void;
}

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
  const { default: dbus } = await import("dbus-next");
  signal.throwIfAborted();
  // "socket" makes dbus-next use node:net at once; with "path" it tries a native addon.
  const busAddress = address.kind === "unix"
    ? `unix:socket=${address.path}`
    : `tcp:host=${address.host},port=${address.port}`;
  const bus = dbus.sessionBus({
    busAddress,
    authMethods: ["EXTERNAL", "ANONYMOUS"],
  }) as unknown as NextBus;
  const connection = bus._connection, { stream } = connection;
  return await new Promise<Transport>((resolve, reject) => {
    let open = false, over = false;
    const end = (why: string) => {
      if (over) return;
      over = true;
      signal.removeEventListener("abort", abort);
      stream.destroy();
      if (open) events.closed(why);
      else reject(new Error(why));
    };
    const abort = () => {
      end("the attempt was given up");
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort);
    bus.on("error", (error: unknown) => end(text(error)));
    stream.on("end", () => end("the bus closed the connection"));
    stream.on("close", () => end("the connection was closed"));
    bus.on("connect", () => {
      if (over) return;
      open = true;
      signal.removeEventListener("abort", abort);
      connection.message = (message) => write(stream, message);
      resolve({
        uniqueName: bus.name!,
        send: (message) => {
          if (over || !stream.writable) throw new Error("the connection is closed");
          const serial = bus.newSerial();
          write(stream, { ...message, serial });
          return serial;
        },
        close: () => {
          over = true;
          stream.end();
          stream.destroy();
        },
      });
    });
    connection.once(
      "connect",
      () => replaceReader(connection, (message) => receive(message, open)),
    );

    const receive = (message: Message, connected: boolean) => {
      if (over) return;
      if (connected) return events.message(message);
      // Only Hello's reply may come first, and only a good one reaches dbus-next.
      if (message.type === ERROR) return end(`Hello was refused: ${message.errorName}`);
      const isHello = message.type === METHOD_RETURN && message.replySerial === 1;
      if (isHello && typeof message.body?.[0] === "string") {
        connection.emit("message", message);
      }
    };
    const replaceReader = (on: Connection, receive: (message: Message) => void) => {
      const original = on.stream.on.bind(on.stream);
      on.stream.on = (event: string, listener) => {
        if (event !== "readable") return original(event, listener);
        on.stream.on = original;
        const frames = new Frames(on.stream);
        const readAll = () => {
          try {
            frames.readAll(receive);
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error;
            end(`the bus broke the protocol: ${error.message}`);
          }
        };
        // What came in one piece with the handshake's end is announced no second time.
        queueMicrotask(readAll);
        return original("readable", readAll);
      };
    };
  });
}

function text(error: unknown): string {
  if (error instanceof Error) return error.message;
  return error instanceof Uint8Array ? new TextDecoder().decode(error) : String(error);
}

/** Cuts a stream into messages. */
class Frames {
  #header: Uint8Array | null = null;

  constructor(readonly stream: Stream) {}

  readAll(receive: (message: Message) => void): void {
    for (;;) {
      this.#header ??= this.stream.read(FIXED_HEADER_BYTES);
      if (!this.#header) return;
      const rest = restBytes(this.#header);
      const bytes = rest === 0 ? new Uint8Array() : this.stream.read(rest);
      if (!bytes) return;
      const header = this.#header;
      this.#header = null;
      const message = parseMessage(header, bytes);
      if (message) receive(message);
    }
  }
}

function restBytes(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  if (header.length < FIXED_HEADER_BYTES) throw new ProtocolError("A cut-off header");
  if (header[0] !== LITTLE && header[0] !== BIG) {
    throw new ProtocolError(`A message that starts with byte ${header[0]}`);
  }
  if (header[3] !== 1) throw new ProtocolError(`Protocol version ${header[3]}`);
  const little = header[0] === LITTLE;
  const body = view.getUint32(4, little), fields = view.getUint32(12, little);
  const total = Math.ceil(fields / 8) * 8 + body;
  if (total > MAX_MESSAGE_BYTES) throw new ProtocolError(`A message of ${total} bytes`);
  return total;
}

const FIELDS: Readonly<Record<number, keyof Message>> = {
  1: "path",
  2: "interface",
  3: "member",
  4: "errorName",
  5: "replySerial",
  6: "destination",
  7: "sender",
  8: "signature",
};
const FIELD_TYPES: Readonly<Record<string, string>> = {
  path: "o",
  replySerial: "u",
  signature: "g",
};
const [FIELD_STRUCT] = parseSignature("(yv)");

/** A message from its bytes; null for a type that is to be ignored. */
function parseMessage(header: Uint8Array, rest: Uint8Array): Message | null {
  const little = header[0] === LITTLE;
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const bodyBytes = view.getUint32(4, little), fieldsBytes = view.getUint32(12, little);
  const message: Message = {
    type: header[1]!,
    flags: header[2]!,
    serial: view.getUint32(8, little),
  };
  if (message.type < METHOD_CALL || message.type > SIGNAL) return null;
  // Alignment counts from the message's start; the fields start at 16, a multiple of 8.
  const reader = new Reader(rest.subarray(0, fieldsBytes), little);
  while (reader.at < fieldsBytes) {
    const [code, value] = reader.value(FIELD_STRUCT!, 0) as [number, Json];
    const field = FIELDS[code];
    if (!field || !isTyped(value)) continue;
    if (value.$type !== (FIELD_TYPES[field] ?? "s")) {
      throw new ProtocolError(`Header field ${code} of type ${value.$type}`);
    }
    (message as unknown as Record<string, Json>)[field] = value.value;
  }
  return readBody(message, rest.subarray(rest.length - bodyBytes), little);
}

/** The body; one that cannot be read fails its call, not the whole connection. */
function readBody(message: Message, bytes: Uint8Array, little: boolean): Message | null {
  try {
    message.body = unmarshalBody(message.signature ?? "", bytes, little);
    return message;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { type, replySerial, sender } = message;
    if (type !== METHOD_RETURN && type !== ERROR) return null;
    return {
      type: ERROR,
      ...(replySerial !== undefined && { replySerial }),
      ...(sender !== undefined && { sender }),
      errorName: BAD_REPLY,
      signature: "s",
      body: [error.message],
    };
  }
}

/** True for the error that stands in for a reply that could not be read. */
export function isBadReply(message: Message): boolean {
  return message.errorName === BAD_REPLY;
}

function write(stream: Stream, message: Message): void {
  const body = marshalBody(message.signature ?? "", message.body ?? []);
  const w = new Writer();
  w.u8(LITTLE);
  w.u8(message.type);
  w.u8(message.flags ?? 0);
  w.u8(1);
  w.u32(body.length);
  w.u32(message.serial!);
  w.u32(0);
  for (const [code, field] of Object.entries(FIELDS)) {
    const value = message[field];
    if (value === undefined || value === "") continue;
    w.align(8);
    w.u8(Number(code));
    const type = FIELD_TYPES[field] ?? "s";
    w.text(type, 1);
    if (type === "u") w.u32(value as number);
    else w.text(value as string, type === "g" ? 1 : 4);
  }
  w.patch(12, w.length - FIXED_HEADER_BYTES);
  w.align(8);
  w.raw(body);
  if (w.length > MAX_MESSAGE_BYTES) throw new ProtocolError("A message over 128 MiB");
  stream.write(w.bytes());
}
