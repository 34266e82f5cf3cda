/** Texts to vectors: memory, then disk, then the model; each missing text once. */
import { OpError } from "../base/errors.ts";
import type { Embedder } from "../embed/embedder.ts";
import { type Codec, encodeVector } from "./codec.ts";
import {
  type CachedVectors,
  type GetOptions,
  needsKey,
  noteHit,
  NOTHING_DONE,
} from "./answer.ts";
import { KEY_BYTES, wellFormed } from "./key.ts";
import type { LooseEntry } from "./loose.ts";
import { packObject } from "./object.ts";
import type { ModelRoom, Store } from "./store.ts";

/** Texts per run of the model: grows while a run is short, shrinks when it is long. */
const FIRST_BATCH = 64, SMALLEST_BATCH = 8, LARGEST_BATCH = 4096;
const SHORT_RUN_MS = 400, LONG_RUN_MS = 2000;

/** From so many texts on, cold reads are sorted and announced to the kernel first. */
const PREFETCH_TEXTS = 256;

type Why = "missing" | "damaged" | "imprecise";

/** A vector that is ready to be stored. */
interface Encoded {
  readonly want: Wanted;
  readonly codec: Codec;
  readonly payload: Uint8Array;
}

interface Wanted {
  readonly text: string;
  readonly key: string;
  /** Its first row in the matrix. */
  readonly row: number;
  why: Why;
}

/** One call's work. */
export class GetOrEmbed {
  readonly matrix: Float32Array<ArrayBuffer>;
  readonly #dimensions: number;
  readonly #tally = { ...NOTHING_DONE };
  readonly #copies: [to: number, from: number][] = [];
  #done = 0;

  constructor(
    private readonly store: Store,
    private readonly room: ModelRoom,
    private readonly embedder: Embedder,
    private readonly texts: readonly string[],
    private readonly options: GetOptions,
  ) {
    this.#dimensions = room.identity.dimensions;
    const size = texts.length * this.#dimensions;
    if (options.into && options.into.length < size) {
      throw new RangeError(`${size} numbers do not fit into ${options.into.length}`);
    }
    this.matrix = options.into?.subarray(0, size) ?? new Float32Array(size);
  }

  async run(): Promise<CachedVectors> {
    let wanted = this.#fromCache();
    const copies = this.#copies;
    while (wanted.length > 0) {
      const others: Wanted[] = [];
      const own: Wanted[] = [];
      for (const want of wanted) {
        (this.store.flights.of(want.key) ? others : own).push(want);
      }
      await this.#compute(own);
      for (const { key } of others) {
        await this.store.flights.of(key)?.landed();
        this.options.signal?.throwIfAborted();
      }
      wanted = this.#lookAgain(others); // stored by now, or ours to compute
    }
    this.#copyDuplicates(copies);
    this.#report(0);
    return { matrix: this.matrix, dimensions: this.#dimensions, ...this.#tally };
  }

  /** Answers what memory and disk have; returns the rest, each text once. */
  #fromCache(): Wanted[] {
    const { arena } = this.room;
    const d = this.#dimensions;
    const wanted: Wanted[] = [];
    const first = new Map<string, number>();
    const { texts, matrix } = this;
    this.#prefetch();
    let packHits = 0;
    for (let row = 0; row < texts.length; row++) {
      const text = wellFormed(texts[row]!);
      if (arena?.copy(text, matrix, row * d)) {
        this.#tally.memoryHits++;
        continue;
      }
      const from = first.size === 0 ? undefined : first.get(text);
      if (from !== undefined) {
        this.#copies.push([row, from]);
        continue;
      }
      const { words, bytes } = this.room.keys.views(text);
      const packed = this.store.lookupPacked(this.room, words, matrix, row * d);
      if (packed && !needsKey(this.store, this.room)) {
        packHits++;
        continue;
      }
      const key = bytes.toHex();
      const found = packed ? "pack" : this.store.lookup(this.room, key, matrix, row * d);
      if (found === "pack" || found === "loose") this.#hit(key, text, row, found);
      else {
        first.set(text, row);
        wanted.push({ text, key, row, why: found });
      }
    }
    this.#tally.diskHits += packHits;
    this.store.counts.packHits += packHits;
    const { memoryHits, diskHits } = this.#tally;
    this.store.counts.memoryHits += memoryHits;
    this.#tally.duplicates = this.#copies.length;
    this.#done = memoryHits + diskHits + this.#copies.length;
    if (this.#done > 0) this.#report(0);
    return wanted;
  }

  /** For many texts: has the disk fetch what is not in memory, in the disk's order. */
  #prefetch(): void {
    const { texts, room, store } = this;
    if (texts.length < PREFETCH_TEXTS || store.packs.areResident(room.name)) return;
    store.packs.prefetch(
      room.name,
      texts.map((text) =>
        room.arena?.has(text) ? undefined : room.keys.of(wellFormed(text))
      ),
    );
  }

  #lookAgain(wanted: readonly Wanted[]): Wanted[] {
    const absent: Wanted[] = [];
    for (const want of wanted) {
      const at = want.row * this.#dimensions;
      const found = this.store.lookup(this.room, want.key, this.matrix, at);
      if (found === "pack" || found === "loose") {
        this.#hit(want.key, want.text, want.row, found);
        this.#done++;
      } else {
        want.why = found;
        absent.push(want);
      }
    }
    return absent;
  }

  #hit(key: string, text: string, row: number, from: "pack" | "loose"): void {
    this.#tally.diskHits++;
    noteHit(this.store, this.room, from, key, text);
    this.store.admit(this.room, text, key, this.matrix, row * this.#dimensions);
  }

  /** Runs the model over what nobody has, in batches that are each safe when done. */
  async #compute(own: readonly Wanted[]): Promise<void> {
    if (own.length === 0) return;
    if (this.store.index.readOnly) {
      throw new OpError(
        "read_only",
        `Cannot store ${own.length} new vectors: the cache ${this.store.loose.path} is open for reading only`,
        { hint: "remount the file system writable, or choose another --root" },
      );
    }
    for (const { key } of own) this.store.flights.start(key);
    try {
      let size = FIRST_BATCH;
      for (let from = 0; from < own.length;) {
        this.options.signal?.throwIfAborted();
        const batch = own.slice(from, from + size);
        const begun = performance.now();
        await this.#computeBatch(batch);
        const tookMs = performance.now() - begun;
        if (tookMs < SHORT_RUN_MS) size = Math.min(size * 2, LARGEST_BATCH);
        else if (tookMs > LONG_RUN_MS) size = Math.max(size >> 1, SMALLEST_BATCH);
        from += batch.length;
        this.#report(batch.length);
      }
    } finally {
      for (const { key } of own) this.store.flights.end(key);
    }
  }

  async #computeBatch(batch: readonly Wanted[]): Promise<void> {
    const { signal } = this.options;
    const result = await this.embedder.embed(
      batch.map(({ text }) => text),
      signal ? { signal } : {},
    );
    const d = this.#dimensions;
    if (result.matrix.length !== batch.length * d) {
      throw badVector(
        this.room,
        `${result.matrix.length} numbers for ${batch.length} texts of ${d} dimensions`,
      );
    }
    const entries = batch.map((want, i) => {
      const vector = result.matrix.subarray(i * d, i * d + d);
      checkVector(this.room, vector);
      const { codec, payload } = encodeVector(vector, this.store.codec);
      // The caller gets what the next hit will give, not what the model said.
      codec.decode(payload, d, this.matrix, want.row * d);
      return { want, codec, payload };
    });
    this.#store(entries);
    for (const want of batch) {
      this.store.admit(this.room, want.text, want.key, this.matrix, want.row * d);
      this.store.flights.end(want.key);
    }
    this.#tally.tokens += result.tokens;
    this.#tally.truncated += result.truncated;
  }

  /**
   * Stores what was computed. New files go beside other processes' ones; what has a file
   * already is looked at again while nobody else stores, so that a vector of less
   * precision never takes the place of another process's better one.
   */
  #store(entries: readonly Encoded[]): void {
    const { store } = this;
    const fresh: Encoded[] = [], rest: Encoded[] = [];
    for (const entry of entries) {
      const { why, key } = entry.want;
      (why === "missing" && !store.index.has(key) ? fresh : rest).push(entry);
    }
    if (fresh.length > 0) {
      const taken = store.storing(() => this.#save(fresh, false));
      rest.push(...fresh.filter(({ want }) => taken.has(want.key)));
    }
    if (rest.length === 0) return;
    store.removing(() => {
      const left = rest.filter((entry) => !this.#isStored(entry));
      if (left.length === 0) return;
      store.packs.noteReplacement();
      this.#save(left, true);
    });
  }

  /** True where another process has stored a text, as precisely, since it was looked for. */
  #isStored({ want, codec, payload }: Encoded): boolean {
    const at = want.row * this.#dimensions;
    const found = this.store.lookup(this.room, want.key, this.matrix, at);
    if (found === "pack" || found === "loose") {
      this.#hit(want.key, want.text, want.row, found);
      return true;
    }
    codec.decode(payload, this.#dimensions, this.matrix, at); // it may have been read over
    return false;
  }

  /**
   * Bytes first, rows after them: a row is a promise that the bytes are there.
   *
   * @param over replaces files that are there
   * @returns the keys that were not stored, as they have a file
   */
  #save(entries: readonly Encoded[], over: boolean): ReadonlySet<string> {
    const { index, loose, durability } = this.store;
    const keyBytes = new Uint8Array(KEY_BYTES);
    const files: LooseEntry[] = entries.map(({ want: { key }, codec, payload }) => {
      keyBytes.setFromHex(key);
      return { key, bytes: packObject(keyBytes, codec, this.#dimensions, payload) };
    });
    if (over) entries.forEach(({ want }) => this.#tallyReplaced(want));
    const taken = loose.write(files, durability, over);
    const written = entries.filter(({ want }) => !taken.has(want.key));
    const nowMs = Date.now();
    index.transaction(() => {
      const model = index.modelId(this.room.identity);
      for (const { want: { key, text }, codec: { id }, payload } of written) {
        const sizes = { dimensions: this.#dimensions, sizeBytes: payload.length };
        index.put({ key, codec: id, ...sizes, text }, model, nowMs);
      }
    });
    this.#tally.misses += written.length;
    this.store.counts.misses += written.length;
    return taken;
  }

  /** Counts why a vector that has or had a file is written anew. */
  #tallyReplaced({ key, why }: Wanted): void {
    const { counts, index, loose } = this.store;
    const known = index.has(key);
    if (why === "imprecise") {
      this.#tally.upgraded++;
      counts.upgraded++;
    } else if (
      known && (why === "damaged" || (!loose.stat(key) && !this.store.raw(key)))
    ) {
      this.#tally.healed++;
      counts.healed++;
    }
  }

  #copyDuplicates(copies: readonly [to: number, from: number][]): void {
    const d = this.#dimensions;
    for (const [to, from] of copies) {
      this.matrix.copyWithin(to * d, from * d, from * d + d);
    }
  }

  #report(more: number): void {
    this.#done += more;
    this.options.progress?.(this.#done, this.texts.length);
  }
}

function checkVector(room: ModelRoom, vector: Float32Array): void {
  let any = false;
  for (let i = 0; i < vector.length; i++) {
    const value = vector[i]!;
    if (!Number.isFinite(value)) throw badVector(room, `component ${i} is ${value}`);
    any ||= value !== 0;
  }
  if (!any) throw badVector(room, "it is empty (all zero)");
}

function badVector(room: ModelRoom, why: string): OpError {
  return new OpError(
    "bad_vector",
    `Cannot store a vector of the model ${room.identity.name}: ${why}`,
    { hint: "the model is damaged or of another kind; add it again (op-dbus model add)" },
  );
}
