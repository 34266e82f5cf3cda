/**
 * How often and when a pack's records were used, `pack-<n>.use`: eight bytes per record,
 * hits u32 and minutes since 1970 u32 of the last use. Writing rows for each hit would cost
 * ten times the hit; here a use is an addition in memory, and a flush writes a few pages.
 * The numbers are hints: they are not synced, and a file of the wrong size counts as empty.
 */
import {
  close,
  ftruncate,
  O_CREAT,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  openAt,
  pread,
  pwriteAll,
} from "../../ffi/files.ts";
import { flock, LOCK_EX } from "../../ffi/flock.ts";
import { ELOOP, openIfThere } from "../../ffi/open_if_there.ts";

/** The file of a pack. */
export function usesName(number: number): string {
  return `pack-${number}.use`;
}

const ENTRY_BYTES = 8;
/** Records that are written together: one page of the file. */
const CHUNK = 4096 / ENTRY_BYTES;
const MINUTE_MS = 60_000;
const U32_MAX = 0xffff_ffff;

/** Uses of one record. */
export interface Uses {
  readonly hits: number;
  /** 0 when it was never used since it was packed. */
  readonly usedMs: number;
}

/** The uses of one pack's records since the last flush. */
export class PackUses {
  #hits: Uint32Array | null = null;
  #dirty: Uint8Array | null = null;

  constructor(private readonly count: number) {}

  /** Notes uses of a record. */
  note(record: number, hits = 1): void {
    if (this.#hits === null) {
      this.#hits = new Uint32Array(this.count);
      this.#dirty = new Uint8Array(Math.ceil(this.count / CHUNK));
    }
    this.#hits[record]! += hits;
    this.#dirty![Math.floor(record / CHUNK)] = 1;
  }

  /** Hands over what was noted and forgets it: the pack is out of force. */
  drain(take: (record: number, hits: number) => void): void {
    this.#hits?.forEach((hits, record) => hits > 0 && take(record, hits));
    this.#hits = this.#dirty = null;
  }

  /** Adds what was noted to the file, under its lock, and starts anew. */
  flush(folderFd: number, number: number, nowMs: number): void {
    const hits = this.#hits, dirty = this.#dirty;
    if (hits === null || dirty === null) return;
    const flags = O_RDWR | O_CREAT | O_NOFOLLOW;
    const fd = openAt(folderFd, usesName(number), flags, 0o644);
    try {
      flock(fd, LOCK_EX); // released by close
      ftruncate(fd, this.count * ENTRY_BYTES);
      const minutes = Math.floor(nowMs / MINUTE_MS);
      for (let chunk = 0; chunk < dirty.length; chunk++) {
        if (dirty[chunk]) this.#flushChunk(fd, hits, chunk, minutes);
      }
    } finally {
      close(fd);
    }
    this.#hits = this.#dirty = null;
  }

  #flushChunk(fd: number, hits: Uint32Array, chunk: number, minutes: number): void {
    const from = chunk * CHUNK;
    const length = Math.min(CHUNK, this.count - from);
    const entries = new Uint32Array(length * 2);
    const bytes = new Uint8Array(entries.buffer);
    pread(fd, bytes, from * ENTRY_BYTES);
    for (let i = 0; i < length; i++) {
      const more = hits[from + i]!;
      if (more === 0) continue;
      entries[i * 2] = Math.min(entries[i * 2]! + more, U32_MAX);
      entries[i * 2 + 1] = minutes;
    }
    pwriteAll(fd, bytes, from * ENTRY_BYTES);
    // What is written is not to be added again should a later chunk fail.
    hits.fill(0, from, from + length);
  }
}

/** All of a pack's flushed uses; reads the file once. */
export class UsesSnapshot {
  readonly #entries: Uint32Array;

  constructor(folderFd: number, number: number, count: number) {
    this.#entries = readAll(folderFd, number, count);
  }

  /** @param nowMs times after it (a clock that was wrong) count as now */
  of(record: number, nowMs: number): Uses {
    const hits = this.#entries[record * 2] ?? 0;
    const minutes = this.#entries[record * 2 + 1] ?? 0;
    return { hits, usedMs: Math.min(minutes * MINUTE_MS, nowMs) };
  }
}

/** The uses of a pack under construction, record by record. */
export class UsesBuilder {
  #entries = new Uint32Array(8192);
  #count = 0;

  add({ hits, usedMs }: Uses): void {
    if (this.#count * 2 === this.#entries.length) {
      const more = new Uint32Array(this.#entries.length * 2);
      more.set(this.#entries);
      this.#entries = more;
    }
    this.#entries[this.#count * 2] = Math.min(hits, U32_MAX);
    this.#entries[this.#count * 2 + 1] = Math.floor(usedMs / MINUTE_MS);
    this.#count++;
  }

  /** The file's content. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#entries.buffer, 0, this.#count * ENTRY_BYTES);
  }
}

function readAll(folderFd: number, number: number, count: number): Uint32Array {
  const empty = new Uint32Array(0);
  const fd = openIfThere(folderFd, usesName(number), O_RDONLY | O_NOFOLLOW, ELOOP);
  if (fd === null) return empty;
  try {
    const entries = new Uint32Array(count * 2);
    const bytes = new Uint8Array(entries.buffer);
    return pread(fd, bytes, 0) === bytes.length ? entries : empty;
  } finally {
    close(fd);
  }
}
