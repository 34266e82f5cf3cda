/**
 * A block: what it says, and its bytes on disk.
 *
 * `{"block":{…header…},"data":{…}}` and a newline, canonical JSON throughout. The header
 * holds the hash of the data, so a block keeps its own hash when `chain compact` drops
 * the data. The block's hash is the RFC 6962 leaf hash of the header's bytes.
 */
import { InputError, OpError } from "../base/errors.ts";
import { sha256, sha256Hex } from "../base/sha256.ts";
import { canonicalJson } from "./canonical.ts";
import { leafHash } from "./merkle.ts";

/** Version of the block format. */
export const BLOCK_VERSION = 1;
/** `previous` of block 0. */
export const NO_PREVIOUS = "0".repeat(64);
/** Most bytes of one block's data, canonical. */
export const DATA_LIMIT_BYTES = 1024 * 1024;
/** Most bytes of one text of a header. */
export const TEXT_LIMIT_BYTES = 4096;
/** Most bytes of a block's file; nothing longer is read. */
export const BLOCK_LIMIT_BYTES = DATA_LIMIT_BYTES + 16 * 1024 * 4;

/** What a block says, but its data. Times are UTC, ISO 8601 with milliseconds. */
export interface BlockHeader {
  readonly version: number;
  /** Position in the chain; the first is 0. */
  readonly number: number;
  readonly time: string;
  /** Where it belongs: `plugin`, `state`, `snapshot`, `trust`, `cache`, `chain`. */
  readonly category: string;
  /** The verb: `install`, `apply`, `prune`. */
  readonly action: string;
  /** Whose doing, e.g. `alice as root`. */
  readonly who: string;
  /** On what: `lxc@1.2.0`. */
  readonly what: string;
  /** SHA-256 (hex) of the canonical data. */
  readonly data_hash: string;
  /** Hash (hex) of the block before; 64 zeros in block 0. */
  readonly previous: string;
  /** SHA-256 (hex) of the whole desired state after this block, where it set one. */
  readonly state?: string;
}

/** A block as read back. */
export interface Block {
  readonly header: BlockHeader;
  /** The block's own hash, hex. */
  readonly hash: string;
  /** Null where `chain compact` dropped it. */
  readonly data: Readonly<Record<string, unknown>> | null;
}

/** What somebody wants on record. */
export interface BlockContent {
  readonly category: string;
  readonly action: string;
  readonly who: string;
  readonly what: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly state?: string;
}

/** Content whose data is already canonical bytes: checked once, before the queue. */
export interface PreparedContent extends Omit<BlockContent, "data"> {
  readonly dataText: string;
}

/**
 * Checks content before it queues.
 * @throws {InputError} not JSON, or over a limit
 */
export function prepare(content: BlockContent): PreparedContent {
  const { data, ...rest } = content;
  const dataText = canonicalJson(data);
  if (utf8Length(dataText) > DATA_LIMIT_BYTES) {
    throw tooLarge("data", content, DATA_LIMIT_BYTES);
  }
  for (const key of ["category", "action", "who", "what"] as const) {
    if (utf8Length(content[key]) > TEXT_LIMIT_BYTES) {
      throw tooLarge(key, content, TEXT_LIMIT_BYTES);
    }
  }
  return { ...rest, dataText };
}

function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

function tooLarge(part: string, content: BlockContent, limit: number): InputError {
  return new InputError(
    "record_too_large",
    `Cannot record ${content.category} ${content.action}: its ${part} is over ${limit} bytes`,
    { hint: "record a digest of it instead" },
  );
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const PREFIX = '{"block":';
const PREFIX_BYTES = encoder.encode(PREFIX);
/** Never inside a string (there its quote is escaped), and the header is flat. */
const DATA_MARK = encoder.encode(',"data":');

/** Bytes of a block's file, and its hash (hex). */
export interface EncodedBlock {
  readonly header: BlockHeader;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly leaf: Uint8Array;
}

/** Makes the next block's bytes. */
export function encodeBlock(
  content: PreparedContent,
  number: number,
  previous: string,
  time: string,
): EncodedBlock {
  const header: BlockHeader = {
    version: BLOCK_VERSION,
    number,
    time,
    category: content.category,
    action: content.action,
    who: content.who,
    what: content.what,
    data_hash: sha256Hex(content.dataText),
    previous,
    ...(content.state !== undefined && { state: content.state }),
  };
  const headerText = canonicalJson(header);
  return {
    header,
    leaf: leafHash(encoder.encode(headerText)),
    bytes: encoder.encode(`${PREFIX}${headerText},"data":${content.dataText}}\n`),
  };
}

/** A block's bytes taken apart: hashes checked by whoever asked, nothing parsed twice. */
export interface RawBlock {
  readonly header: BlockHeader;
  readonly leaf: Uint8Array;
  /** Canonical JSON of the data; null where it was dropped. */
  readonly dataBytes: Uint8Array | null;
}

/**
 * Takes a block's file apart and checks all that can be checked without its neighbours:
 * shape, field types, the data against its hash. Every byte of the file is covered by
 * that, by {@link RawBlock.leaf} or by being a constant.
 *
 * @throws {OpError} `bad_block` saying what is wrong
 */
export function parseBlock(bytes: Uint8Array): RawBlock {
  if (bytes.length > BLOCK_LIMIT_BYTES) throw bad("it is too long");
  if (!startsWith(bytes, PREFIX_BYTES, 0)) throw bad("it does not begin as a block");
  const end = bytes.length - 2;
  if (bytes[end] !== 0x7d || bytes[end + 1] !== 0x0a) throw bad("it is cut short");
  const mark = indexOf(bytes, DATA_MARK, PREFIX_BYTES.length);
  const headerBytes = bytes.subarray(PREFIX_BYTES.length, mark === -1 ? end : mark);
  const dataBytes = mark === -1 ? null : bytes.subarray(mark + DATA_MARK.length, end);
  const header = parseHeader(headerBytes);
  if (dataBytes && toHex(sha256(dataBytes)) !== header.data_hash) {
    throw bad("its data does not match its hash");
  }
  return { header, leaf: leafHash(headerBytes), dataBytes };
}

/**
 * {@link parseBlock} with the data parsed too.
 * @throws {OpError} `bad_block`
 */
export function decodeBlock(bytes: Uint8Array): Block {
  const { header, leaf, dataBytes } = parseBlock(bytes);
  return { header, hash: toHex(leaf), data: dataBytes && parseJson(dataBytes, "data") };
}

/** @param what it is of a block, for the message */
function parseJson(bytes: Uint8Array, what: "header" | "data") {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw bad(`its ${what} is not JSON`, cause);
  }
}

/** The same block without its data: what `chain compact` leaves. */
export function withoutData(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const mark = indexOf(bytes, DATA_MARK, PREFIX_BYTES.length);
  if (mark === -1) return new Uint8Array(bytes);
  const out = new Uint8Array(mark + 2);
  out.set(bytes.subarray(0, mark));
  out.set([0x7d, 0x0a], mark);
  return out;
}

const TEXT_FIELDS = [
  "time",
  "category",
  "action",
  "who",
  "what",
  "data_hash",
  "previous",
] as const;

function parseHeader(bytes: Uint8Array): BlockHeader {
  const value: unknown = parseJson(bytes, "header");
  if (typeof value !== "object" || value === null) throw bad("its header is no object");
  const header = value as Record<string, unknown>;
  if (header.version !== BLOCK_VERSION) throw bad("its version is not 1");
  if (!Number.isSafeInteger(header.number) || (header.number as number) < 0) {
    throw bad("its number is none");
  }
  for (const key of TEXT_FIELDS) {
    if (typeof header[key] !== "string") throw bad(`its ${key} is not a text`);
  }
  if (header.state !== undefined && typeof header.state !== "string") {
    throw bad("its state is not a text");
  }
  return header as unknown as BlockHeader;
}

function bad(why: string, cause?: unknown): OpError {
  return new OpError("bad_block", why, {
    ...(cause !== undefined && { cause }),
    hint: "op-dbus chain verify shows every damaged block",
  });
}

function startsWith(bytes: Uint8Array, piece: Uint8Array, at: number): boolean {
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

function indexOf(bytes: Uint8Array, piece: Uint8Array, from: number): number {
  const first = piece[0]!;
  for (let at = from; at <= bytes.length - piece.length; at++) {
    if (bytes[at] === first && startsWith(bytes, piece, at)) return at;
  }
  return -1;
}

/** Lowercase hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** @throws {SyntaxError} on anything but hexadecimal */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.fromHex(text);
}

/** The text of a block that is searched and embedded. */
export function blockText(block: Block): string {
  const { category, action, what, who } = block.header;
  const details = block.data ? canonicalJson(block.data) : "";
  const text = `${category} ${action} ${what} by ${who} ${details}`;
  // The cut may leave half of a surrogate pair, which no embedder takes.
  return text.slice(0, SEARCH_TEXT_LIMIT).toWellFormed();
}

/** Characters of a block that searches see. */
const SEARCH_TEXT_LIMIT = 4096;
