/**
 * The journal: blocks that are acknowledged, but whose own files may still be in memory
 * only. One append and one fdatasync makes a whole group of blocks durable.
 *
 *     op-dbus-journal 1 FROM PLACE
 *     HASH {"block":…}
 *
 * Each line carries its block's hash and bytes. A line without its newline is a write
 * that was cut short, so nobody was told that it is safe.
 */
import { isSysError } from "../../ffi/errno.ts";
import { O_NOFOLLOW, O_RDONLY, open, pread, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { OpError } from "../base/errors.ts";
import { parseBlock, type RawBlock } from "./block.ts";
import type { ChainFiles } from "./files.ts";

/** The journal turns over once it holds this much; a group may go past it. */
export const JOURNAL_TURN_BYTES = 4 * 1024 * 1024;
export const JOURNAL_TURN_BLOCKS = 4096;
/**
 * A process that finds so many blocks there turns it over after its own: a command that
 * notes one change reads the whole journal first, which a process that stays does once.
 */
export const JOURNAL_FOUND_BLOCKS = 64;
/** A longer journal is none of ours. */
const JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024;
const MAGIC = "op-dbus-journal 1";
const NEWLINE = 0x0a, SPACE = 0x20, HASH_DIGITS = 64;

/** One block of the journal. */
export interface JournalEntry {
  readonly number: number;
  /** Hash, hex. */
  readonly hash: string;
  readonly leaf: Uint8Array;
  /** Hash (hex) of the block before, as this block says. */
  readonly previous: string;
  /** The block file's bytes. */
  readonly bytes: Uint8Array;
}

/** What a journal holds. */
export interface JournalContent {
  /** Number of its first block. */
  readonly from: number;
  /** Boot and file system that it was written on. */
  readonly place: string;
  readonly entries: readonly JournalEntry[];
  /** Blocks whose lines were damaged, and made good from their own files. */
  readonly damaged: readonly number[];
  /** The last block, when its line was cut short but its file is whole. */
  readonly cutShort: number | null;
  /** Bytes that make sense; what follows was cut short. */
  readonly goodBytes: number;
  /** Bytes in the file. */
  readonly totalBytes: number;
}

const encoder = new TextEncoder();
const latin = new TextDecoder("latin1");

/** First line of a fresh journal. */
export function journalHeader(from: number, place: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${MAGIC} ${from} ${place}\n`);
}

/** The lines of a group of blocks. */
export function journalLines(
  blocks: readonly { readonly leaf: Uint8Array; readonly bytes: Uint8Array }[],
): Uint8Array<ArrayBuffer> {
  const lineBytes = HASH_DIGITS + 1;
  const total = blocks.reduce((sum, { bytes }) => sum + lineBytes + bytes.length, 0);
  const out = new Uint8Array(total);
  let at = 0;
  for (const { leaf, bytes } of blocks) {
    out.set(encoder.encode(`${leaf.toHex()} `), at);
    out.set(bytes, at + lineBytes);
    at += lineBytes + bytes.length;
  }
  return out;
}

/**
 * Reads the journal; null where there is none.
 * @throws {OpError} `chain_damaged` where a block can be had neither here nor from its file
 */
export function readJournal(files: ChainFiles): JournalContent | null {
  let bytes: Uint8Array;
  try {
    bytes = withFd(open(files.journal, O_RDONLY | O_NOFOLLOW), (fd) => readAll(fd));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
  const end = bytes.indexOf(NEWLINE);
  const header = /^op-dbus-journal 1 (\d{1,15}) (\S+)$/.exec(
    latin.decode(bytes.subarray(0, Math.max(0, end))),
  );
  if (!header) throw damaged(files, "its first line is damaged");
  const from = Number(header[1]);
  const found = parseLines(files, bytes.subarray(end + 1), from);
  return {
    ...found,
    from,
    place: header[2]!,
    goodBytes: end + 1 + found.goodBytes,
    totalBytes: bytes.length,
  };
}

function readAll(fd: number, from = 0): Uint8Array {
  const { sizeBytes } = fstat(fd);
  if (sizeBytes > JOURNAL_LIMIT_BYTES) {
    throw new OpError("chain_damaged", "Cannot read the journal: it is too long");
  }
  const bytes = new Uint8Array(Math.max(0, sizeBytes - from));
  return bytes.subarray(0, pread(fd, bytes, from));
}

/**
 * What was added behind `from` bytes by another process.
 * @param next number of the first block to be found there
 */
export function readJournalTail(
  files: ChainFiles,
  fd: number,
  from: number,
  next: number,
): Readonly<Lines> & { readonly totalBytes: number } {
  const bytes = readAll(fd, from);
  return { ...parseLines(files, bytes, next), totalBytes: bytes.length };
}

/** What the lines after the header hold. */
interface Lines {
  readonly entries: JournalEntry[];
  readonly damaged: number[];
  cutShort: number | null;
  goodBytes: number;
}

/** Lines to entries; a damaged line is made good from the block's file or refused. */
function parseLines(files: ChainFiles, bytes: Uint8Array, from: number): Lines {
  const found: Lines = { entries: [], damaged: [], cutShort: null, goodBytes: 0 };
  const next = () => from + found.entries.length;
  const add = (entry: JournalEntry) => {
    const last = found.entries.at(-1);
    if (last && entry.previous !== last.hash) {
      throw damaged(files, `block ${entry.number} does not follow block ${last.number}`);
    }
    found.entries.push(entry);
  };
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start);
    let end = newline === -1 ? bytes.length : newline + 1;
    const line = bytes.subarray(start, end);
    const entry = newline === -1 ? null : readLine(line);
    if (entry) {
      if (entry.number < next()) throw damaged(files, "blocks are repeated");
      while (next() < entry.number) add(mend(files, next(), found));
      add(entry);
      found.goodBytes = end;
    } else {
      const file = fromFile(files, next());
      const length = HASH_DIGITS + 1 + (file?.bytes.length ?? 0);
      if (file && namesBlock(line, file)) {
        if (line.length < length) found.cutShort = next();
        else found.damaged.push(next());
        add(file);
        // A damaged newline runs two lines together: go on where this one should end.
        end = Math.min(end, start + length);
        found.goodBytes = end;
      } else if (newline === bytes.length - 1) {
        throw unmendable(files, next());
      }
    }
    start = end;
  }
  return found;
}

/** A block between good lines whose own line is lost. */
function mend(files: ChainFiles, number: number, found: Lines): JournalEntry {
  const entry = fromFile(files, number);
  if (!entry) throw unmendable(files, number);
  found.damaged.push(number);
  return entry;
}

function unmendable(files: ChainFiles, number: number): OpError {
  return damaged(files, `block ${number} is damaged there and in its own file`);
}

/** A line that agrees with itself; null otherwise. */
function readLine(line: Uint8Array): JournalEntry | null {
  if (line[HASH_DIGITS] !== SPACE) return null;
  const bytes = line.subarray(HASH_DIGITS + 1);
  const raw = tryParse(bytes);
  if (!raw) return null;
  const hash = raw.leaf.toHex();
  if (latin.decode(line.subarray(0, HASH_DIGITS)) !== hash) return null;
  return entryOf(raw, bytes);
}

function tryParse(bytes: Uint8Array): RawBlock | null {
  try {
    return parseBlock(bytes);
  } catch (error) {
    if (error instanceof OpError) return null; // the caller decides what that means
    throw error;
  }
}

/** A block from its own file, when that is whole. */
function fromFile(files: ChainFiles, number: number): JournalEntry | null {
  const bytes = files.readBlock(number)?.slice();
  const raw = bytes && tryParse(bytes);
  return bytes && raw?.header.number === number ? entryOf(raw, bytes) : null;
}

function entryOf({ header, leaf }: RawBlock, bytes: Uint8Array): JournalEntry {
  const { number, previous } = header;
  return { number, hash: leaf.toHex(), leaf, previous, bytes };
}

/** A damaged line still means this block: its hash is there, or all of its bytes are. */
function namesBlock(line: Uint8Array, entry: JournalEntry): boolean {
  if (latin.decode(line.subarray(0, HASH_DIGITS)) === entry.hash) return true;
  const rest = line.subarray(HASH_DIGITS + 1);
  return rest.length === entry.bytes.length && rest.every((b, i) => b === entry.bytes[i]);
}

function damaged(files: ChainFiles, why: string): OpError {
  return new OpError("chain_damaged", `Cannot read ${files.journal}: ${why}`, {
    hint: "op-dbus chain verify shows what is left; restore @timing from a snapshot",
  });
}
