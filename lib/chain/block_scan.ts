/**
 * The quick way to check a block that is as nearly all are: parsing a header into an
 * object and its hashes into bytes takes longer than SHA-256 itself.
 *
 * It only ever says "sound". Whatever is out of the ordinary (other letters than ASCII, a
 * state, a compaction, dropped data, damage) is left to `parseBlock`, which decides.
 */
import { hexOf } from "../base/sha256.ts";
import { BLOCK_LIMIT_BYTES } from "./block.ts";
import { leafHex } from "./merkle.ts";

const QUOTE = 0x22, BACKSLASH = 0x5c, FIRST_PRINTABLE = 0x20, LAST_PRINTABLE = 0x7e;
const ZERO = 0x30, NINE = 0x39, CLOSE = 0x7d, NEWLINE = 0x0a;
const HASH_DIGITS = 64;
/** A number of so many digits is a safe integer. */
const NUMBER_DIGITS = 15;

const constant = (text: string) => new TextEncoder().encode(text);
// What stands between the members of a canonical header without a state.
const ACTION = constant('{"block":{"action":"');
const CATEGORY = constant('","category":"');
const DATA_HASH = constant('","data_hash":"');
const NUMBER = constant('","number":');
const PREVIOUS = constant(',"previous":"');
const TIME = constant('","time":"');
const WHAT = constant('","version":1,"what":"');
const WHO = constant('","who":"');
const DATA = constant('"},"data":');
/** What is before the header in a block's file. */
const HEADER_AT = '{"block":'.length;
/** What of {@link DATA} is behind it: all but the quote and the brace. */
const AFTER_HEADER = DATA.length - 2;
/** The action whose blocks tell more than their hashes: a compaction. */
const COMPACT = constant("compact");

/**
 * The block's own hash (hex) when its file is a sound, ordinary block of this number
 * that follows the block with the hash `previous`.
 *
 * @param bytes the block's file
 * @param previous lowercase hex
 * @returns null when that takes a closer look
 */
export function soundBlock(
  bytes: Uint8Array,
  number: number,
  previous: string,
): string | null {
  const length = bytes.length;
  if (length > BLOCK_LIMIT_BYTES) return null;
  if (bytes[length - 2] !== CLOSE || bytes[length - 1] !== NEWLINE) return null;
  const action = after(bytes, 0, ACTION);
  const category = after(bytes, textEnd(bytes, action), CATEGORY);
  if (category === -1 || startsAt(bytes, action, COMPACT)) return null;
  const hash = after(bytes, textEnd(bytes, category), DATA_HASH);
  if (hash === -1) return null;
  const digits = after(bytes, hash + HASH_DIGITS, NUMBER);
  const before = after(bytes, numberEnd(bytes, digits, number), PREVIOUS);
  if (before === -1 || !isText(bytes, before, previous)) return null;
  const time = after(bytes, before + HASH_DIGITS, TIME);
  const what = after(bytes, textEnd(bytes, time), WHAT);
  const who = after(bytes, textEnd(bytes, what), WHO);
  const data = after(bytes, textEnd(bytes, who), DATA);
  if (data === -1) return null;
  if (!isText(bytes, hash, hexOf(bytes.subarray(data, length - 2)))) return null;
  return leafHex(bytes.subarray(HEADER_AT, data - AFTER_HEADER));
}

/** Where what follows `piece` begins, when it stands at `at`; -1 otherwise, also for -1. */
function after(bytes: Uint8Array, at: number, piece: Uint8Array): number {
  return at !== -1 && startsAt(bytes, at, piece) ? at + piece.length : -1;
}

function startsAt(bytes: Uint8Array, at: number, piece: Uint8Array): boolean {
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

/** Where a text of plain ASCII without escapes ends: its quote; -1 for any other. */
function textEnd(bytes: Uint8Array, start: number): number {
  if (start === -1) return -1;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === QUOTE) return at;
    if (byte < FIRST_PRINTABLE || byte > LAST_PRINTABLE || byte === BACKSLASH) return -1;
  }
  return -1;
}

/** Where the digits of `number` end, when they stand at `start`; -1 otherwise. */
function numberEnd(bytes: Uint8Array, start: number, number: number): number {
  if (start === -1) return -1;
  let at = start, value = 0;
  for (; at - start < NUMBER_DIGITS; at++) {
    const byte = bytes[at]!;
    if (!(byte >= ZERO && byte <= NINE)) break;
    value = 10 * value + byte - ZERO;
  }
  const leading = bytes[start] === ZERO && at - start > 1;
  return at === start || leading || value !== number ? -1 : at;
}

/** True when the ASCII text stands at `at`. */
function isText(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (bytes[at + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}
