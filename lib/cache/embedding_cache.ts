/** The embedding cache: texts become vectors, once. */
import { compact, type CompactOptions, type CompactReport } from "./compact.ts";
import type { Mapping } from "../../ffi/memory.ts";
import { placeMapping } from "../placement/apply.ts";
import type { Placement } from "../placement/strategy.ts";
import { type ArenaReport, reportArenas } from "./arena_report.ts";
import { warm, warmArena, type WarmOptions, type WarmReport } from "./warm.ts";
import { asOpError, InputError, LockedError } from "../base/errors.ts";
import type { Embedder, ModelIdentity } from "../embed/embedder.ts";
import { atOnce, type Steps } from "../base/slices.ts";
import { DEFAULT_ARENA_BYTES } from "./arena.ts";
import { type ModelRemoval, removeModelVectors, sampleTexts } from "./by_model.ts";
import {
  clean,
  type CleanOptions,
  type CleanReport,
  clear,
  type ClearReport,
} from "./clean.ts";
import { type CodecName, CODECS, DEFAULT_CODEC, isCodecName } from "./codec.ts";
import { type CachedVectors, fromMemory, type GetOptions, lookUp } from "./answer.ts";
import { GetOrEmbed } from "./get_or_embed.ts";
import { Gate } from "./gate.ts";
import { CacheIndex } from "./index.ts";
import { wellFormed } from "./key.ts";
import type { Durability } from "./loose.ts";
import { openLoose } from "./open_loose.ts";
import { lockPacks, makePackLock } from "./pack_lock.ts";
import { PackSet } from "./pack_set.ts";
import { type Match, search } from "./search.ts";
import { type CacheStats, stats } from "./stats.ts";
import { type LiveStats, liveStats } from "./live_stats.ts";
import { REBUILT, Store } from "./store.ts";
import { needsRebuild, type RebuildReport, setIndexAside } from "./rebuild.ts";
import {
  adopt,
  keysOnDisk,
  verify,
  type VerifyOptions,
  type VerifyReport,
} from "./verify.ts";

/** How to open a cache. */
export interface CacheOptions {
  /** How new vectors are written; default int12. Reads know every codec. */
  readonly codec?: CodecName;
  /**
   * `full` (default): a vector that was returned survives a power cut. `relaxed`: those of
   * the last seconds may be lost, and are computed again.
   */
  readonly durability?: Durability;
  /** Memory for hot vectors of each model, bytes; 0 for none. */
  readonly arenaBytes?: number;
  /** Where the memory for hot vectors is taken from; default: the kernel's choice. */
  readonly placement?: Placement;
  /** Answers hits only; works on read-only snapshots. */
  readonly readOnly?: boolean;
  /** Uses are written at least this often while the cache is used; default 30 s. */
  readonly flushIntervalMs?: number;
}

/** One entry, for `cache get`. */
export interface CachedEntry {
  readonly key: string;
  readonly vector: Float32Array<ArrayBuffer>;
  readonly codec: CodecName;
  /** Bytes of the encoded vector. */
  readonly sizeBytes: number;
}

const FLUSH_INTERVAL_MS = 30_000;
/** Loose files that are worth a compaction. */
const COMPACT_THRESHOLD_FILES = 4096;

/** An open cache. Many processes may have the same one open. */
export class EmbeddingCache implements Disposable {
  #closed = false;
  #lastFlushMs = Date.now();

  private constructor(
    private readonly folder: string,
    private readonly store: Store,
    private readonly flushIntervalMs: number,
  ) {}

  /**
   * Opens the cache in a folder (`@cache/embeddings`), making what is missing in it.
   *
   * @param folder absolute path of a folder that exists
   * @throws {OpError} `not_found`, `permission_denied`, `read_only`, `index_damaged`,
   *   `index_newer`; `InputError` for an unknown codec
   */
  static open(folder: string, options: CacheOptions = {}): EmbeddingCache {
    const codec = options.codec ?? DEFAULT_CODEC;
    if (!isCodecName(codec)) {
      throw new InputError("bad_codec", `Cannot use the codec ${codec}: no such codec`, {
        hint: `choose one of ${Object.keys(CODECS).join(", ")}`,
      });
    }
    const durability = options.durability ?? "full";
    const readOnly = options.readOnly ?? false;
    using opened = new DisposableStack();
    const loose = opened.use(openLoose(folder, readOnly));
    const path = `${folder}/index.db`;
    const index = opened.use(CacheIndex.open(path, { readOnly, durability }));
    const packs = opened.use(
      new PackSet(loose.folderFd, loose.path, () => loose.names(), readOnly),
    );
    const gate = readOnly ? null : opened.use(new Gate(`${folder}/gate.lock`));
    const arenaBytes = options.arenaBytes ?? DEFAULT_ARENA_BYTES;
    if (!readOnly) makePackLock(folder);
    const { placement } = options;
    const place = placement && ((mapping: Mapping) => placeMapping(mapping, placement));
    const store = new Store(
      index,
      loose,
      packs,
      gate,
      CODECS[codec],
      durability,
      arenaBytes,
      place,
    );
    opened.move(); // the store closes them from now on
    return new EmbeddingCache(
      folder,
      store,
      options.flushIntervalMs ?? FLUSH_INTERVAL_MS,
    );
  }

  /**
   * The vectors of texts, from the cache or computed and stored.
   *
   * @param texts any number, in any order, also the same one again
   * @throws {OpError} what the model threw; `bad_vector`; `no_space`; `read_only`
   */
  async getOrEmbed(
    texts: readonly string[],
    embedder: Embedder,
    options: GetOptions = {},
  ): Promise<CachedVectors> {
    this.#checkOpen();
    const room = this.store.room(embedder.identity);
    try {
      const result = fromMemory(this.store, room, texts, options) ??
        await new GetOrEmbed(this.store, room, embedder, texts, options).run();
      this.#flushWhenDue();
      return result;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw asOpError(error, "Cannot store the vectors");
    }
  }

  /**
   * A hot text's vector without copying it; undefined when it is not in memory. The view
   * is good until the next call of this cache that may take a vector in.
   */
  peek(text: string, identity: ModelIdentity): Float32Array<ArrayBuffer> | undefined {
    const view = this.store.room(identity).arena?.view(text);
    if (view) this.store.counts.memoryHits++;
    return view;
  }

  /**
   * One text's vector, from memory or disk, at once; null where it has to be computed.
   * Counts as a use.
   *
   * @param into receives it from `at`; by default a vector of its own
   */
  lookup(
    text: string,
    identity: ModelIdentity,
    into: Float32Array<ArrayBuffer> = new Float32Array(identity.dimensions),
    at = 0,
  ): Float32Array<ArrayBuffer> | null {
    this.#checkOpen();
    return lookUp(this.store, this.store.room(identity), text, into, at) ? into : null;
  }

  /** One text's entry as it is stored, or null; computes nothing, counts nothing. */
  get(text: string, identity: ModelIdentity): CachedEntry | null {
    this.#checkOpen();
    const room = this.store.room(identity);
    const key = room.keys.of(wellFormed(text));
    const vector = new Float32Array(identity.dimensions);
    this.store.packs.refresh();
    const place = this.store.packs.find(room.name, key);
    if (place?.pack.read(place.record, vector, 0)) {
      const { codec, payloadBytes } = place.pack.header;
      return { key, vector, codec: codec.name, sizeBytes: payloadBytes };
    }
    const read = this.store.loose.read(key, identity.dimensions, vector, 0);
    if (read.state !== "found") return null;
    const { codec, payloadBytes } = read.header;
    return { key, vector, codec: codec.name, sizeBytes: payloadBytes };
  }

  /** {@link searching} at once. */
  search(...asked: Parameters<EmbeddingCache["searching"]>): Match[] {
    return atOnce(this.searching(...asked));
  }

  /**
   * The k entries nearest to a vector, exact, best first.
   *
   * @param options `byHand`: without SIMD, for comparison
   */
  searching(
    query: Float32Array,
    k: number,
    identity: ModelIdentity,
    signal?: AbortSignal,
    options: { readonly byHand?: boolean } = {},
  ): Steps<Match[]> {
    this.#checkOpen();
    const room = this.store.room(identity);
    return search(this.store, room, query, k, { ...options, ...(signal && { signal }) });
  }

  /** Has the kernel bring a part of the vectors into memory, within a limit. */
  warm(options: WarmOptions): WarmReport {
    this.#checkOpen();
    this.flush();
    return warm(this.store, options);
  }

  /** Takes the last used vectors of a model into this process's memory; how many. */
  warmArena(identity: ModelIdentity, limit: number): Steps<number> {
    this.#checkOpen();
    return warmArena(this.store, this.store.room(identity), limit);
  }

  /** Looks every vector in a model's memory up once; returns how many there were. */
  lookUpArena(identity: ModelIdentity): number {
    const texts = this.store.room(identity).arena?.texts() ?? [];
    return texts.filter((text) => this.peek(text, identity)).length;
  }

  /** Where the memory for hot vectors is, and which node answered how many hits. */
  arenas(): ArenaReport[] {
    this.#checkOpen();
    return reportArenas(this.store);
  }

  /** What the cache holds and did. */
  stats(): CacheStats {
    this.#checkOpen();
    this.flush();
    return stats(this.store);
  }

  /** What a service shows all the time; the index is not read for it. */
  live(): LiveStats {
    this.#checkOpen();
    return liveStats(this.store);
  }

  /** Gives every vector on the disk a row; for an index that was made anew. */
  adoptAll(): number {
    const { index } = this.store;
    return index.transaction(() => {
      const adopted = adopt(this.store, keysOnDisk(this.store));
      index.count(REBUILT, adopted);
      return adopted;
    });
  }

  /** Checks every vector; see {@link VerifyReport}. */
  verify(options: VerifyOptions = {}): VerifyReport {
    this.#checkOpen();
    this.flush();
    using _lock = options.repair ? lockPacks(this.folder) : null;
    const report = verify(this.store, options);
    if (options.repair) this.store.forget();
    return report;
  }

  /**
   * Removes entries by age, count or size. What lies in packs is marked as deleted; the
   * next compaction gives its space back.
   *
   * @throws {LockedError} when another process compacts, cleans or clears
   */
  clean(options: CleanOptions): CleanReport {
    this.#checkOpen();
    if (options.dryRun) return clean(this.store, options);
    using _lock = lockPacks(this.folder);
    return clean(this.store, options);
  }

  /** Texts of a model, picked at random: for comparing their vectors with new ones. */
  sampleTexts(identity: ModelIdentity, count: number): string[] {
    this.#checkOpen();
    return sampleTexts(this.store.index, identity, count);
  }

  /** Removes the vectors of the model with that digest. */
  removeModel(digest: string, dryRun = false): ModelRemoval {
    this.#checkOpen();
    if (dryRun) return removeModelVectors(this.store, digest, dryRun);
    using _lock = lockPacks(this.folder);
    return removeModelVectors(this.store, digest, dryRun);
  }

  /** Removes every entry. @throws {LockedError} as {@link clean} */
  clear(dryRun = false): ClearReport {
    this.#checkOpen();
    if (dryRun) return clear(this.store, dryRun);
    using _lock = lockPacks(this.folder);
    return clear(this.store, dryRun);
  }

  /**
   * Moves loose files into packs and merges packs as they grow.
   *
   * @throws {LockedError} when another process compacts, cleans or clears
   */
  compact(options: CompactOptions = {}): CompactReport {
    return atOnce(this.#compacting(options));
  }

  #compacting(options: CompactOptions): Steps<CompactReport> {
    this.#checkOpen();
    this.flush(); // gives rows to entries that have none
    return compact(this.store, this.folder, options);
  }

  /** Compacts when there are more loose files than this; null when there was no need. */
  *compactingIfDue(
    options: CompactOptions = {},
    thresholdFiles = COMPACT_THRESHOLD_FILES,
  ): Steps<CompactReport | null> {
    this.#checkOpen();
    if (this.store.loose.entries().length < thresholdFiles) return null;
    try {
      return yield* this.#compacting(options);
    } catch (error) {
      if (error instanceof LockedError) return null; // somebody is at it already
      throw error;
    }
  }

  /** Writes uses and counts that are held in memory. */
  flush(): void {
    this.#lastFlushMs = Date.now();
    this.store.flush();
  }

  #flushWhenDue(): void {
    if (Date.now() - this.#lastFlushMs >= this.flushIntervalMs) this.flush();
  }

  #checkOpen(): void {
    if (this.#closed) throw new TypeError("The cache is closed");
  }

  /** Flushes and closes. Closing twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.store.flush();
    } finally {
      this.store.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Checks a cache, also one whose index cannot be opened: with `repair` such an index is
 * set aside (not deleted) and a new one is built from the vectors.
 *
 * @param folder as for {@link EmbeddingCache.open}
 * @throws {OpError} `index_damaged` and kin, without `repair`; `index_newer` always
 */
export function verifyCache(
  folder: string,
  options: VerifyOptions = {},
): VerifyReport & { rebuilt: RebuildReport | null } {
  const path = `${folder}/index.db`;
  const setAside = options.repair && needsRebuild(path)
    ? setIndexAside(path, Date.now())
    : null;
  using cache = EmbeddingCache.open(folder, {
    readOnly: !options.repair,
    arenaBytes: 0,
  });
  const adopted = setAside === null ? 0 : cache.adoptAll();
  const report = cache.verify(options);
  return { ...report, rebuilt: setAside === null ? null : { setAside, adopted } };
}
