/** Bringing the vectors that will be wanted into memory before they are. */
import { MADV_POPULATE_READ, MADV_WILLNEED, PAGE_BYTES } from "../../ffi/memory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { InputError } from "../base/errors.ts";
import type { Steps } from "../base/slices.ts";
import { ARENA_TEXT_LIMIT } from "./arena.ts";
import { TEXT_LIMIT } from "./index.ts";
import type { Pack } from "./pack.ts";
import { UsesSnapshot } from "./pack_uses.ts";
import { residentBytes } from "./residency.ts";
import type { ModelRoom, Store } from "./store.ts";

/** What to bring in. */
export interface WarmOptions {
  /** The most recently, or the most frequently used first. */
  readonly by: "recency" | "frequency";
  /** Most bytes to bring in. */
  readonly limitBytes: number;
  readonly signal?: AbortSignal;
}

/** What was brought in. */
export interface WarmReport {
  /** Vectors chosen. */
  readonly vectors: number;
  /** Bytes of the pages that they lie on, tables included. */
  readonly bytes: number;
  readonly residentBeforeBytes: number;
  readonly residentAfterBytes: number;
  /** Bytes of all packs. */
  readonly totalBytes: number;
}

/** A record and how much it is wanted. */
interface Candidate {
  readonly pack: Pack;
  readonly record: number;
}

/**
 * Brings packs' tables, then the wanted records, into the kernel's page cache, and waits
 * for them.
 *
 * @throws {InputError} for a limit below zero
 */
export function warm(store: Store, options: WarmOptions): WarmReport {
  if (!(options.limitBytes >= 0)) {
    throw new InputError("bad_limit", `Cannot warm ${options.limitBytes} bytes`);
  }
  store.packs.refresh();
  const packs = store.packs.all();
  const mappings = packs.flatMap((pack) => [pack.mapping, pack.idxMapping]);
  const resident = () => mappings.reduce((sum, one) => sum + residentBytes(one), 0);
  const residentBeforeBytes = resident();
  let bytes = 0, vectors = 0;
  for (const { idxMapping } of packs) {
    if (bytes + idxMapping.length > options.limitBytes) continue;
    populate(idxMapping, 0, idxMapping.length);
    bytes += idxMapping.length;
  }
  const pages = new Map<Pack, Set<number>>();
  for (const { pack, record } of byWant(store, packs, options.by)) {
    options.signal?.throwIfAborted();
    const chosen = pages.get(pack) ?? new Set<number>();
    pages.set(pack, chosen);
    const more = pagesOf(pack, record).filter((page) => !chosen.has(page));
    if (bytes + more.length * PAGE_BYTES > options.limitBytes) break;
    for (const page of more) chosen.add(page);
    bytes += more.length * PAGE_BYTES;
    vectors++;
  }
  for (const [pack, chosen] of pages) populatePages(pack, chosen);
  return {
    vectors,
    bytes,
    residentBeforeBytes,
    residentAfterBytes: resident(),
    totalBytes: mappings.reduce((sum, { length }) => sum + length, 0),
  };
}

function pagesOf(pack: Pack, record: number): number[] {
  const from = Math.floor(pack.offset(record) / PAGE_BYTES);
  const to = Math.floor((pack.offset(record + 1) - 1) / PAGE_BYTES);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Every live record of every pack, the most wanted first. */
function* byWant(
  store: Store,
  packs: readonly Pack[],
  by: WarmOptions["by"],
): Generator<Candidate> {
  const total = packs.reduce((sum, { count }) => sum + count, 0);
  const want = new Float64Array(total), order = new Uint32Array(total);
  const starts: number[] = [];
  let n = 0;
  for (const pack of packs) {
    starts.push(n);
    const uses = new UsesSnapshot(store.loose.folderFd, pack.number, pack.count);
    for (let record = 0; record < pack.count; record++, n++) {
      const { hits, usedMs } = uses.of(record, Date.now());
      want[n] = pack.isDeleted(record) ? -1 : by === "recency" ? usedMs : hits;
      order[n] = n;
    }
  }
  order.sort((a, b) => want[b]! - want[a]! || a - b);
  for (const i of order) {
    if (want[i]! < 0) return;
    const at = starts.findLastIndex((start) => start <= i);
    yield { pack: packs[at]!, record: i - starts[at]! };
  }
}

function populatePages({ mapping }: Pack, pages: ReadonlySet<number>): void {
  const sorted = [...pages].sort((a, b) => a - b);
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (sorted[end + 1] === sorted[end]! + 1) end++;
    const from = sorted[i]! * PAGE_BYTES;
    const to = Math.min((sorted[end]! + 1) * PAGE_BYTES, mapping.length);
    populate(mapping, from, to - from);
    i = end + 1;
  }
}

function populate(mapping: Pack["mapping"], offset: number, length: number): void {
  try {
    mapping.advise(MADV_POPULATE_READ, offset, length);
  } catch (error) {
    // Linux before 5.14 cannot wait for the pages; it can still be asked for them.
    if (!isSysError(error, "EINVAL")) throw error;
    mapping.advise(MADV_WILLNEED, offset, length);
  }
}

/** An entry that was used not long ago. */
interface Recent {
  readonly usedMs: number;
  readonly key: string;
  /** Where it is packed; null for a loose one. */
  readonly packed: Candidate | null;
}

/** Records that are looked at in one step, and entries that are taken in. */
const STEP_RECORDS = 65_536, STEP_ENTRIES = 8;
const MINUTE_MS = 60_000;
const TEXT_OF = "SELECT text FROM entries WHERE key = ?";
const USED = "SELECT accessed_ms AS ms FROM entries WHERE key = ? AND model = ?";

/** Takes the vectors of the last used texts into a model's arena; how many there were. */
export function* warmArena(store: Store, room: ModelRoom, limit: number): Steps<number> {
  const { arena } = room;
  if (!arena) return 0;
  const wanted = yield* mostRecent(store, room, Math.min(limit, arena.capacity));
  const vector = new Float32Array(room.identity.dimensions);
  const longest = Math.min(TEXT_LIMIT, ARENA_TEXT_LIMIT);
  let taken = 0;
  for (const [at, { key, packed }] of wanted.entries()) {
    if (at % STEP_ENTRIES === 0) yield;
    const row = store.index.get(TEXT_OF, Uint8Array.fromHex(key));
    const text = typeof row?.text === "string" ? row.text : null;
    // A text that was cut is not the text that the vector belongs to.
    if (text === null || text.length >= longest || room.keys.of(text) !== key) continue;
    const found = packed
      ? packed.pack.read(packed.record, vector, 0)
      : store.loose.read(key, vector.length, vector, 0).state === "found";
    if (!found || arena.has(text)) continue;
    store.admit(room, text, key, vector, 0);
    taken++;
  }
  return taken;
}

/** The entries of a model that were used last, by their minute. */
function* mostRecent(store: Store, room: ModelRoom, limit: number): Steps<Recent[]> {
  store.packs.refresh();
  const nowMs = Date.now(), byMinute = new Map<number, number>();
  const recent: Recent[] = [];
  const model = store.index.modelId(room.identity);
  for (const [at, key] of (model === null ? [] : store.loose.keys()).entries()) {
    if (at % STEP_ENTRIES === 0) yield;
    const row = store.index.get(USED, Uint8Array.fromHex(key), model);
    if (row) recent.push({ usedMs: Number(row.ms), key, packed: null });
  }
  const packs = store.packs.of(room.name);
  const uses = packs.map(({ number, count }) =>
    new UsesSnapshot(store.loose.folderFd, number, count)
  );
  // First how many there are of each minute, then those of the last minutes alone.
  for (const [i, pack] of packs.entries()) {
    for (let record = 0; record < pack.count; record++) {
      if (record % STEP_RECORDS === 0) yield;
      if (pack.isDeleted(record)) continue;
      const minute = Math.floor(uses[i]!.of(record, nowMs).usedMs / MINUTE_MS);
      byMinute.set(minute, (byMinute.get(minute) ?? 0) + 1);
    }
  }
  let sinceMs = Infinity, left = limit;
  for (const [minute, count] of [...byMinute].sort(([a], [b]) => b - a)) {
    if (left <= 0) break;
    sinceMs = minute * MINUTE_MS;
    left -= count;
  }
  let ofTheFirstMinute = 0;
  for (const [i, pack] of packs.entries()) {
    for (let record = 0; record < pack.count; record++) {
      if (record % STEP_RECORDS === 0) yield;
      const { usedMs } = uses[i]!.of(record, nowMs);
      if (usedMs < sinceMs || pack.isDeleted(record)) continue;
      // That may be the minute of a million.
      if (usedMs === sinceMs && ++ofTheFirstMinute > limit) continue;
      recent.push({ usedMs, key: pack.key(record).toHex(), packed: { pack, record } });
    }
  }
  return recent.sort((a, b) => b.usedMs - a.usedMs).slice(0, limit);
}
