/**
 * Decoded vectors that are hot, in one contiguous stretch of memory, found by their text.
 * Full, it evicts by CLOCK: a hand goes round and takes the first slot that was not used
 * since it last came by. Source: Corbató, "A Paging Experiment with the Multics System"
 * (1968).
 */
import { MADV_DONTNEED, Mapping } from "../../ffi/memory.ts";

/** Texts longer than this (UTF-16 units) are not kept in memory as names of a slot. */
export const ARENA_TEXT_LIMIT = 4096;
/** Default size. Memory is taken from the system only as slots are used. */
export const DEFAULT_ARENA_BYTES = 256 * 1024 * 1024;
const KEY_BYTES = 32;
/** What a slot costs V8 beside its text: the string, its entry in the map, a view. */
const NAME_OVERHEAD_BYTES = 256;
/** So much is there for names whatever the limit. */
const MIN_NAMES_BYTES = 1024 * 1024;
/** Of the memory so much is shown to V8 at first, then so many times more. */
const FIRST_SHOWN_BYTES = 4 * 1024 * 1024, SHOWN_GROWTH = 8;

/**
 * Keeps a mapping alive as long as any view of it: reading an unmapped view would kill the
 * process. The pages themselves go when the arena is disposed of.
 */
const alive = new WeakMap<ArrayBuffer, Mapping>();

/** A slot that was used since its uses were last taken. */
export interface SlotUse {
  readonly key: string;
  readonly text: string;
  readonly hits: number;
}

/** The vectors of one model. */
export class Arena implements Disposable {
  readonly #mapping: Mapping;
  /**
   * The beginning of the mapping that has been used: the whole of it would have V8 collect
   * garbage before the first vector is there.
   */
  #floats = new Float32Array();
  readonly #slots = new Map<string, number>();
  readonly #texts: (string | undefined)[] = [];
  /** Made when first asked for: making one for each hit costs as much as the lookup. */
  readonly #views: (Float32Array<ArrayBuffer> | undefined)[] = [];
  readonly #keys: Uint8Array;
  readonly #hits: Uint32Array;
  readonly #used: Uint8Array;
  /** Hits that {@link takeUses} took, by slot. */
  readonly #taken: Uint32Array;
  /** Slots that were evicted for the sake of the names' size. */
  readonly #free: number[] = [];
  #nameBytes = 0;
  readonly #namesLimitBytes: number;
  #hand = 0;
  /** How many entries were evicted. */
  evictions = 0;

  /**
   * @param dimensions of every vector
   * @param limitBytes most bytes of vectors, of which at least one has its slot; and once
   *   more the most bytes of the texts that name them, which count where vectors are small
   *   or texts long
   * @param place called once with the mapping, to bind its memory to a node
   */
  constructor(
    readonly dimensions: number,
    limitBytes: number,
    place?: (mapping: Mapping) => void,
  ) {
    this.#namesLimitBytes = Math.max(limitBytes, MIN_NAMES_BYTES);
    this.capacity = Math.max(1, Math.floor(limitBytes / (dimensions * 4)));
    this.#mapping = Mapping.anonymous(this.capacity * dimensions * 4);
    place?.(this.#mapping);
    this.#keys = new Uint8Array(this.capacity * KEY_BYTES);
    this.#hits = new Uint32Array(this.capacity);
    this.#used = new Uint8Array(this.capacity);
    this.#taken = new Uint32Array(this.capacity);
  }

  /** Slots in all. */
  readonly capacity: number;

  /** Slots in use. */
  get size(): number {
    return this.#slots.size;
  }

  /** The mapping, for placement to look at. */
  get mapping(): Mapping {
    return this.#mapping;
  }

  /**
   * The vector of a text without copying it, or undefined. The view is good until the
   * next {@link admit}, which may reuse the slot.
   */
  view(text: string): Float32Array<ArrayBuffer> | undefined {
    const slot = this.#slots.get(text);
    if (slot === undefined) return undefined;
    this.#hits[slot]!++;
    this.#used[slot] = 1;
    return this.#views[slot] ??= this.#viewOf(slot);
  }

  #viewOf(slot: number): Float32Array<ArrayBuffer> {
    const at = slot * this.dimensions;
    return this.#floats.subarray(at, at + this.dimensions);
  }

  /** The texts whose vectors are here. */
  texts(): string[] {
    return [...this.#slots.keys()];
  }

  /** True where a text's vector is here; no use is counted. */
  has(text: string): boolean {
    return this.#slots.has(text);
  }

  /** Copies the vector of a text to `into` from `at`; false where it is not here. */
  copy(text: string, into: Float32Array, at: number): boolean {
    const view = this.view(text);
    if (!view) return false;
    into.set(view, at);
    return true;
  }

  /**
   * Takes a vector in, evicting another where all slots are taken.
   *
   * @param evicted told of an evicted slot's uses, so that none is lost
   */
  admit(
    text: string,
    key: string,
    from: Float32Array,
    at: number,
    evicted: (use: SlotUse) => void,
  ): void {
    if (text.length > ARENA_TEXT_LIMIT) return;
    const known = this.#slots.get(text);
    const slot = known ?? this.#slotFor(nameBytes(text), evicted);
    if ((slot + 1) * this.dimensions > this.#floats.length) this.#showMore();
    this.#floats.set(from.subarray(at, at + this.dimensions), slot * this.dimensions);
    if (known !== undefined) return;
    this.#slots.set(text, slot);
    this.#texts[slot] = text;
    if (slot === this.#views.length) this.#views.push(undefined);
    this.#keys.subarray(slot * KEY_BYTES, (slot + 1) * KEY_BYTES).setFromHex(key);
  }

  #slotFor(bytes: number, evicted: (use: SlotUse) => void): number {
    while (this.#slots.size > 0 && this.#nameBytes + bytes > this.#namesLimitBytes) {
      this.#free.push(this.#evict(evicted));
    }
    const slot = this.#free.pop() ??
      (this.#texts.length < this.capacity ? this.#texts.length : this.#evict(evicted));
    this.#nameBytes += bytes;
    return slot;
  }

  /** The views that are out stay good: they are of the same memory. */
  #showMore(): void {
    const more = Math.max(FIRST_SHOWN_BYTES, this.#floats.byteLength * SHOWN_GROWTH);
    const vectorBytes = this.dimensions * 4;
    const vectors = Math.max(1, Math.floor(more / vectorBytes));
    const length = Math.min(vectors, this.capacity) * vectorBytes;
    const buffer = this.#mapping.window(0, length);
    alive.set(buffer, this.#mapping);
    this.#floats = new Float32Array(buffer);
  }

  /** Frees a slot, its counts at zero again; at least one is taken. */
  #evict(evicted: (use: SlotUse) => void): number {
    for (;; this.#hand++) {
      if (this.#hand >= this.#texts.length) this.#hand = 0;
      const slot = this.#hand, text = this.#texts[slot];
      if (text === undefined) continue; // free already
      if (this.#used[slot] === 1) {
        this.#used[slot] = 0;
        continue;
      }
      this.#hand++;
      if (this.#hits[slot]! > 0) evicted(this.#use(slot, text));
      this.#slots.delete(text);
      this.#texts[slot] = undefined;
      this.#nameBytes -= nameBytes(text);
      this.#hits[slot] = 0;
      this.#taken[slot] = 0;
      this.evictions++;
      return slot;
    }
  }

  #use(slot: number, text: string): SlotUse {
    const key = this.#keys.subarray(slot * KEY_BYTES, (slot + 1) * KEY_BYTES).toHex();
    return { key, text, hits: this.#hits[slot]! };
  }

  /** The uses since the last call, slot by slot; resets them. */
  *takeUses(): Generator<SlotUse> {
    for (let slot = 0; slot < this.#texts.length; slot++) {
      if (this.#hits[slot] === 0) continue;
      const text = this.#texts[slot];
      if (text !== undefined) yield this.#use(slot, text);
      this.#taken[slot]! += this.#hits[slot]!;
      this.#hits[slot] = 0;
    }
  }

  /** Hits of the slots in use since they were taken in, with where each slot begins. */
  *slotHits(): Generator<{ byteOffset: number; hits: number }> {
    for (let slot = 0; slot < this.#texts.length; slot++) {
      const hits = this.#hits[slot]! + this.#taken[slot]!;
      yield { byteOffset: slot * this.dimensions * 4, hits };
    }
  }

  /** Forgets everything (a clean or clear happened). */
  clear(): void {
    this.#slots.clear();
    this.#free.length = 0;
    this.#nameBytes = 0;
    this.#texts.length = 0;
    this.#views.length = 0;
    this.#hits.fill(0);
    this.#taken.fill(0);
    this.#used.fill(0);
    this.#hand = 0;
  }

  [Symbol.dispose](): void {
    this.clear();
    this.#mapping.advise(MADV_DONTNEED);
  }
}

/** At most what a text takes as a name: V8 stores one or two bytes for each unit. */
function nameBytes(text: string): number {
  return 2 * text.length + NAME_OVERHEAD_BYTES;
}
