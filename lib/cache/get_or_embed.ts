/** Texts to vectors: memory, then disk, then the model; each missing text once. */
import { OpError } from "../base/errors.ts";
import type { Embedder } from "../embed/embedder.ts";
import { encodeVector } from "./codec.ts";
import { wellFormed } from "./key.ts";
import type { LooseEntry } from "./loose.ts";
import { packObject } from "./object.ts";
import type { ModelRoom, Store } from "./store.ts";

/** Options of one call. */
export interface GetOptions {
  /** Ends the work early; what was stored stays stored. */
  readonly signal?: AbortSignal;
  /** Receives the vectors, instead of a matrix of its own: for calls one after another. */
  readonly into?: Float32Array<ArrayBuffer>;
  /** Called with how many of the texts are done, after each batch. */
  readonly progress?: (done: number, total: number) => void;
}

/** What a call gives. */
export interface CachedVectors {
  /** Row-major, texts.length × dimensions, in the order of the texts. */
  readonly matrix: Float32Array<ArrayBuffer>;
  readonly dimensions: number;
  /** Texts answered from memory. */
  readonly memoryHits: number;
  /** Texts answered from the disk, or by a call that was computing them already. */
  readonly diskHits: number;
  /** Texts that were computed. */
  readonly misses: number;
  /** Of the misses: damaged, short or missing files written anew. */
  readonly healed: number;
  /** Of the misses: stored with less precision than configured, written anew. */
  readonly upgraded: number;
  /** Misses that came more than once in this call; only the first counts above. */
  readonly duplicates: number;
  /** Tokens that the model read for the misses. */
  readonly tokens: number;
  /** Misses that were longer than the model's limit and were cut. */
  readonly truncated: number;
}

/** Texts per run of the model: grows while a run is short, shrinks when it is long. */
const FIRST_BATCH = 64, SMALLEST_BATCH = 8, LARGEST_BATCH = 4096;
const SHORT_RUN_MS = 400, LONG_RUN_MS = 2000;

/** From so many texts on, cold reads are sorted and announced to the kernel first. */
const PREFETCH_TEXTS = 256;

type Why = "missing" | "damaged" | "imprecise";

interface Wanted {
  readonly text: string;
  readonly key: string;
  /** Its first row in the matrix. */
  readonly row: number;
  why: Why;
}

/** Answers one text from memory or disk; false where neither has it. */
export function lookUp(
  store: Store,
  room: ModelRoom,
  raw: string,
  into: Float32Array,
  at: number,
): boolean {
  const text = wellFormed(raw);
  if (room.arena?.copy(text, into, at)) {
    store.counts.memoryHits++;
    return true;
  }
  const { words, bytes } = room.keys.views(text);
  const packed = store.lookupPacked(room, words, into, at);
  if (packed && !needsKey(store, room)) {
    store.counts.packHits++;
    return true;
  }
  const key = bytes.toHex();
  const found = packed ? "pack" : store.lookup(room, key, into, at);
  if (found !== "pack" && found !== "loose") return false;
  noteHit(store, room, found, key, text);
  store.admit(room, text, key, into, at);
  return true;
}

/** True where a hit in a pack is noted by its key. */
function needsKey(store: Store, room: ModelRoom): boolean {
  return room.arena !== null || store.textsAreMissing;
}

function noteHit(
  store: Store,
  room: ModelRoom,
  from: "pack" | "loose",
  key: string,
  text: string,
): void {
  if (from === "pack") store.counts.packHits++;
  else store.counts.looseHits++;
  if (from === "loose" || store.textsAreMissing) store.touch(room, key, text);
}

/** One call's work. */
export class GetOrEmbed {
  readonly matrix: Float32Array<ArrayBuffer>;
  readonly #dimensions: number;
  readonly #tally = {
    memoryHits: 0,
    diskHits: 0,
    misses: 0,
    healed: 0,
    upgraded: 0,
    duplicates: 0,
    tokens: 0,
    truncated: 0,
  };
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
    this.store.storing(() => this.#save(entries));
    for (const want of batch) {
      this.store.admit(this.room, want.text, want.key, this.matrix, want.row * d);
      this.store.flights.end(want.key);
    }
    this.#tally.tokens += result.tokens;
    this.#tally.truncated += result.truncated;
  }

  /** Bytes first, rows after them: a row is a promise that the bytes are there. */
  #save(
    entries: readonly {
      want: Wanted;
      codec: ReturnType<typeof encodeVector>["codec"];
      payload: Uint8Array;
    }[],
  ): void {
    const { index, loose, durability, counts } = this.store;
    const keyBytes = new Uint8Array(32);
    const replaces = new Set<string>();
    const files: LooseEntry[] = [];
    let healed = 0, upgraded = 0;
    for (const { want, codec, payload } of entries) {
      keyBytes.setFromHex(want.key);
      files.push({
        key: want.key,
        bytes: packObject(keyBytes, codec, this.#dimensions, payload),
      });
      const known = index.has(want.key);
      if (known || want.why !== "missing") replaces.add(want.key);
      if (want.why === "imprecise") upgraded++;
      else if (want.why === "damaged" && known) healed++;
      // A file that is there by now was stored by another process meanwhile.
      else if (known && !loose.stat(want.key) && !this.store.raw(want.key)) healed++;
    }
    loose.write(files, durability, replaces);
    const nowMs = Date.now();
    index.transaction(() => {
      const model = index.modelId(this.room.identity);
      for (const { want, codec, payload } of entries) {
        const { key, text } = want;
        const { id } = codec;
        const sizeBytes = payload.length;
        index.put(
          { key, codec: id, dimensions: this.#dimensions, sizeBytes, text },
          model,
          nowMs,
        );
      }
    });
    this.#tally.misses += entries.length;
    this.#tally.healed += healed;
    this.#tally.upgraded += upgraded;
    counts.misses += entries.length;
    counts.healed += healed;
    counts.upgraded += upgraded;
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
