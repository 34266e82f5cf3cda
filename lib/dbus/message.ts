/**
 * Messages as bytes. Source: D-Bus specification, "Message Format".
 */
import { marshalBody, Writer } from "./marshal.ts";
import { parseSignature } from "./names.ts";
import { ProtocolError, Reader, unmarshalBody } from "./unmarshal.ts";
import { isTyped, type Json } from "./value.ts";

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

/** Where bytes come from: as many as asked for, or null until there are. */
export interface ByteSource {
  read(size?: number): Uint8Array | null;
}

/** Cuts a stream into messages. */
export class Frames {
  #header: Uint8Array | null = null;

  constructor(readonly stream: ByteSource) {}

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

/**
 * A message's bytes.
 *
 * @throws {ValueError} when its body does not fit its signature
 * @throws {ProtocolError} when it is too large
 */
export function messageBytes(message: Message): Uint8Array<ArrayBuffer> {
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
  return w.bytes();
}
