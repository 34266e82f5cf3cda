/**
 * Moves loose files into packs, and merges packs as they grow.
 *
 * The order makes it safe to be killed anywhere: new packs are durable before the manifest
 * names them, the manifest is durable before anything they replace is removed. What is in
 * two places in between is the same vector twice.
 */
import { fsync, syncfs } from "../../ffi/files.ts";
import { syncfsLater } from "../../ffi/later.ts";
import { fstatfs } from "../../ffi/stat.ts";
import { asOpError } from "../base/errors.ts";
import type { Steps } from "../base/slices.ts";
import type { ModelIdentity } from "../embed/embedder.ts";
import { type Codec, CODECS } from "./codec.ts";
import { KEY_BYTES, roomName } from "./key.ts";
import { lockPacks } from "./pack_lock.ts";
import type { Pack } from "./pack.ts";
import { MAX_PACK_RECORDS, packHeader } from "./pack_format.ts";
import { numbersIn } from "./pack_set.ts";
import type { LooseStore } from "./loose.ts";
import { looseRows } from "./loose_rows.ts";
import { UsesSnapshot } from "./pack_uses.ts";
import { PACK_TEMPORARY, PackWriter } from "./pack_writer.ts";
import type { Store } from "./store.ts";

/** What to compact. */
export interface CompactOptions {
  /** Merges every pack of a model and codec into one, reclaiming all deleted space. */
  readonly full?: boolean;
  readonly signal?: AbortSignal;
  /** Loose files looked at, of how many. */
  readonly progress?: (done: number, total: number) => void;
}

/** What a compaction did. */
export interface CompactReport {
  /** Loose vectors that are in packs now. */
  readonly packed: number;
  /** Records copied from packs that were merged. */
  readonly merged: number;
  /** Records dropped in merging: deleted, replaced by a newer one, or damaged. */
  readonly dropped: number;
  /** Loose files left: damaged, or of an unknown model until their next use. */
  readonly left: number;
  readonly packsBefore: number;
  readonly packsAfter: number;
  /** Space that is free now and was not before, by statfs(2); negative for less. */
  readonly freedBytes: number;
}

/** Counter of what compactions freed. */
export const FREED = "freed_bytes";

/** A pack is merged into the new one unless it is more than so many times larger. */
const GROWTH = 3;
/** A pack with more than this share of deleted records is written anew. */
const DELETED_SHARE = 0.25;
/** Loose files removed while the gate is closed. */
const REMOVE_BATCH = 100;
/** Loose files, and records of packs, that one step copies. */
const STEP_FILES = 32, STEP_RECORDS = 256;

/** One model in one codec: what shares a pack. */
interface Group {
  readonly identity: ModelIdentity;
  readonly codec: Codec;
  writer: PackWriter;
  /** Packs that go into the new one, the newest first. */
  readonly sources: Pack[];
}

/**
 * Compacts. Between two steps the cache may be used as at any other time.
 *
 * @throws {LockedError} when another process, or other steps, compact, clean or clear
 */
export function* compact(
  store: Store,
  folder: string,
  options: CompactOptions = {},
): Steps<CompactReport> {
  using _lock = lockPacks(folder);
  try {
    yield* written(store, options);
    const before = availableBytes(store);
    const report = yield* new Compaction(store, options).run();
    yield* written(store, options);
    const freedBytes = availableBytes(store) - before;
    store.index.count(FREED, freedBytes);
    return { ...report, freedBytes };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw asOpError(error, "Cannot compact the cache");
  }
}

/** Before a call that waits for the disk: it finds nothing left to wait for. */
function* written({ loose }: Store, { signal }: CompactOptions): Steps<void> {
  yield () => syncfsLater(loose.folderFd);
  signal?.throwIfAborted();
}

/** Of the file system, once what is being written has its place. */
function availableBytes({ loose }: Store): number {
  syncfs(loose.folderFd, loose.path);
  return fstatfs(loose.folderFd, loose.path).availableBytes;
}

class Compaction {
  readonly #groups = new Map<string, Group>();
  /** The models that are known and fit the header of a pack. */
  readonly #models = new Map<number, ModelIdentity>();
  readonly #inodes = new Map<string, bigint>();
  readonly #nowMs = Date.now();
  /** Before any file is read: those that are replaced after this must stay. */
  readonly #replacements: number;
  readonly #listing: ReturnType<LooseStore["list"]>;
  /** The numbers of packs, in force or not. */
  readonly #numbers: readonly number[];
  #merged = 0;
  #dropped = 0;

  constructor(private readonly store: Store, private readonly options: CompactOptions) {
    const { packs, loose } = store;
    packs.refresh();
    this.#replacements = packs.replacements;
    this.#listing = loose.list();
    const names = this.#listing.map(({ name }) => name);
    this.#numbers = numbersIn(names);
    this.#removeLeftovers(names);
    for (const row of store.index.all("SELECT * FROM models")) {
      const identity: ModelIdentity = {
        name: String(row.name),
        digest: String(row.digest),
        dimensions: Number(row.dimensions),
        pooling: row.pooling as ModelIdentity["pooling"],
        normalisation: row.normalisation as ModelIdentity["normalisation"],
        prefix: String(row.prefix),
        maxTokens: Number(row.max_tokens),
      };
      const fits = packHeader(CODECS.f32, 1, 4, 0, identity) !== null;
      if (fits) this.#models.set(Number(row.id), identity);
    }
  }

  /** What a killed compaction left: nobody else makes such files while we hold the lock. */
  #removeLeftovers(names: readonly string[]): void {
    const { packs, loose } = this.store;
    const inForce = new Set([
      ...packs.all().map(({ number }) => number),
      ...packs.broken(),
    ]);
    packs.removeFiles(this.#numbers.filter((number) => !inForce.has(number)));
    loose.removeTemporaries(names.filter((name) => name.startsWith(PACK_TEMPORARY)));
  }

  *run(): Steps<Omit<CompactReport, "freedBytes">> {
    const { packs } = this.store;
    const before = packs.all();
    try {
      const total = yield* this.#packLoose();
      this.#chooseSources();
      for (const group of this.#groups.values()) yield* this.#merge(group);
      yield* written(this.store, this.options);
      const full: Group[] = [];
      for (const group of this.#groups.values()) {
        if (yield* this.#publish(group)) full.push(group);
      }
      this.#switch(before, full);
      yield* this.#removePacked();
      return {
        packed: this.#inodes.size,
        merged: this.#merged,
        dropped: this.#dropped,
        left: total - this.#inodes.size,
        packsBefore: before.length,
        packsAfter: packs.all().length,
      };
    } finally {
      for (const { writer } of this.#groups.values()) writer[Symbol.dispose]();
    }
  }

  *#step(): Steps<void> {
    yield;
    this.options.signal?.throwIfAborted();
  }

  /** Streams every loose vector whose model is known into its group's new pack. */
  *#packLoose(): Steps<number> {
    const { loose, index } = this.store;
    const entries = loose.entries(this.#listing);
    const rows = yield* looseRows(index, entries.length);
    const key = new Uint8Array(KEY_BYTES);
    let done = 0;
    for (const { key: hex, inode } of entries) {
      if (done++ % STEP_FILES === 0) {
        yield* this.#step();
        this.options.progress?.(done, entries.length);
      }
      const row = rows.of(hex);
      const identity = row && this.#models.get(row.model);
      const found = identity ? loose.readRaw(hex) : "missing";
      if (!identity || typeof found === "string") continue;
      const { codec, payload } = unzipped(found.header.codec, found.payload, identity);
      if (payload.length !== codec.maxBytes(identity.dimensions)) continue;
      const { writer } = this.#group(identity, codec);
      if (writer.isFull) continue; // for the next compaction
      key.setFromHex(hex);
      writer.add(key, payload, row);
      this.#inodes.set(hex, inode);
    }
    this.options.progress?.(done, entries.length);
    return entries.length;
  }

  #group(identity: ModelIdentity, codec: Codec): Group {
    const name = `${roomName(identity)} ${codec.name}`;
    let group = this.#groups.get(name);
    if (!group) {
      const { folderFd } = this.store.loose;
      const { dimensions } = identity;
      const number = this.store.packs.nextNumber(this.#numbers);
      const writer = new PackWriter(folderFd, number, codec, dimensions, identity);
      this.#groups.set(name, group = { identity, codec, writer, sources: [] });
    }
    return group;
  }

  /** Packs of sizes like the new one's are merged, so that few of many sizes remain. */
  #chooseSources(): void {
    const { packs } = this.store;
    const byGroup = Map.groupBy(
      packs.all(),
      ({ header }) => `${roomName(header.identity)} ${header.codec.name}`,
    );
    for (const [name, members] of byGroup) {
      let size = this.#groups.get(name)?.writer.count ?? 0;
      const worn = members.some((p) => p.deletedCount() > p.count * DELETED_SHARE);
      const whole = this.options.full &&
        (packs.all().length + this.#groups.size > 1 || members[0]!.deletedCount() > 0);
      if (size === 0 && !whole && !worn) continue;
      const { identity, codec } = members[0]!.header;
      for (const pack of members) { // the newest first
        const live = pack.count - pack.deletedCount();
        const isWorn = live < pack.count * (1 - DELETED_SHARE);
        const fits = size > 0 && pack.count <= size * GROWTH;
        if (size + live > MAX_PACK_RECORDS) break;
        if (!this.options.full && !fits && !isWorn) {
          if (size > 0) break; // older packs are larger still
          continue;
        }
        this.#group(identity, codec).sources.push(pack);
        size += live;
      }
    }
  }

  *#merge({ writer, sources }: Group): Steps<void> {
    for (const pack of sources) {
      const better = this.#betterThan(pack);
      const uses = new UsesSnapshot(this.store.loose.folderFd, pack.number, pack.count);
      for (let record = 0; record < pack.count; record++) {
        if (record % STEP_RECORDS === 0) yield* this.#step();
        const live = !pack.isDeleted(record) && pack.isSound(record) &&
          !this.#replaced(pack, record, better);
        if (!live) this.#dropped++;
        else {
          const used = uses.of(record, this.#nowMs);
          writer.add(pack.key(record), pack.payload(record), used);
          this.#merged++;
        }
      }
    }
  }

  /** The packs whose records replace this one's: newer ones, and not less precise. */
  #betterThan(pack: Pack): Pack[] {
    const { identity, codec } = pack.header;
    return this.store.packs.of(roomName(identity)).filter((other) =>
      other.number > pack.number && other.header.codec.precision >= codec.precision
    );
  }

  /** True where a loose vector or a better pack holds the same key. */
  #replaced(pack: Pack, record: number, better: readonly Pack[]): boolean {
    const key = pack.key(record);
    if (this.#inodes.size > 0 && this.#inodes.has(key.toHex())) return true;
    if (better.length === 0) return false;
    const words = new Uint32Array(key.slice().buffer);
    return better.some((other) => {
      const found = other.find(words);
      return found >= 0 && other.isSound(found);
    });
  }

  /** False where the group came to nothing: everything in its sources was dropped. */
  *#publish(group: Group): Steps<boolean> {
    if (group.writer.count === 0) return false;
    yield* group.writer.publish();
    return true;
  }

  #switch(before: readonly Pack[], written: readonly Group[]): void {
    const { packs, loose } = this.store;
    const gone = new Set([...this.#groups.values()].flatMap(({ sources }) => sources));
    if (written.length === 0 && gone.size === 0) return;
    fsync(loose.folderFd, loose.path);
    const kept = before.filter((pack) => !gone.has(pack)).map(({ number }) => number);
    const numbers = [...kept, ...written.map(({ writer }) => writer.number)];
    packs.publish(numbers.sort((a, b) => a - b));
    packs.removeFiles([...gone].map(({ number }) => number));
  }

  /** Removes the loose files that are in packs now, but those that were replaced since. */
  *#removePacked(): Steps<void> {
    const { loose, packs } = this.store;
    const packed = [...this.#inodes];
    for (let from = 0; from < packed.length; from += REMOVE_BATCH) {
      yield; // whoever stops now leaves the same vectors twice: the next one removes them
      this.store.removing(() => {
        // Asking for each file takes a third of the time that removing it takes.
        const isSame = packs.replacements === this.#replacements;
        for (const [key, inode] of packed.slice(from, from + REMOVE_BATCH)) {
          if (isSame || loose.inode(key) === inode) loose.remove([key]);
        }
      });
    }
  }
}

/** Packs have records of one size: what is compressed goes in as plain float32. */
function unzipped(
  codec: Codec,
  payload: Uint8Array,
  { dimensions }: ModelIdentity,
): { codec: Codec; payload: Uint8Array } {
  if (codec !== CODECS["f32-zstd"]) return { codec, payload };
  const vector = new Float32Array(dimensions);
  if (!codec.decode(payload, dimensions, vector, 0)) {
    return { codec, payload: new Uint8Array() };
  }
  return { codec: CODECS.f32, payload: new Uint8Array(vector.buffer) };
}
