/** What the parts of the cache share: the index, the files, memory, and the counts. */
import type { ModelIdentity } from "../embed/embedder.ts";
import type { Mapping } from "../../ffi/memory.ts";
import { Arena, type SlotUse } from "./arena.ts";
import type { Codec } from "./codec.ts";
import { Flights } from "./flights.ts";
import type { Gate } from "./gate.ts";
import type { Access, CacheIndex } from "./index.ts";
import { roomName, VectorKeys } from "./key.ts";
import type { Durability, LooseStore } from "./loose.ts";
import type { ObjectHeader } from "./object.ts";
import type { PackSet } from "./pack_set.ts";

/** What happened since the cache was opened. */
export interface SessionCounts {
  memoryHits: number;
  packHits: number;
  looseHits: number;
  misses: number;
  /** Damaged, short or missing files that were written anew. */
  healed: number;
  /** Entries of less precision than is configured, written anew. */
  upgraded: number;
}

/** A new, empty count. */
export function zeroCounts(): SessionCounts {
  return { memoryHits: 0, packHits: 0, looseHits: 0, misses: 0, healed: 0, upgraded: 0 };
}

/** Counter of the entries that a rebuilding of the index found without their text. */
export const REBUILT = "rebuilt";

/** Uses held back in memory before they are written. */
const ACCESS_BATCH = 20_000;

/** One model's part of the cache. */
export interface ModelRoom {
  /** {@link roomName} of the identity. */
  readonly name: string;
  readonly identity: ModelIdentity;
  readonly keys: VectorKeys;
  readonly arena: Arena | null;
}

/** Where a lookup ended. */
export type Lookup = "pack" | "loose" | "missing" | "damaged" | "imprecise";

/** The opened parts. */
export class Store {
  readonly flights = new Flights();
  /** The index was rebuilt once: rows get their texts back as they are used. */
  textsAreMissing = false;
  readonly counts = zeroCounts();
  readonly #rooms = new Map<string, ModelRoom>();
  readonly #byIdentity = new WeakMap<ModelIdentity, ModelRoom>();
  #last: { readonly identity: ModelIdentity; readonly room: ModelRoom } | null = null;
  readonly #accesses = new Map<string, Access & { room: ModelRoom }>();
  #flushed = zeroCounts();
  #flushing = false;

  constructor(
    readonly index: CacheIndex,
    readonly loose: LooseStore,
    readonly packs: PackSet,
    /** Null where the cache is open for reading only. */
    readonly gate: Gate | null,
    readonly codec: Codec,
    readonly durability: Durability,
    readonly arenaBytes: number,
    private readonly place?: (mapping: Mapping) => void,
  ) {
    this.textsAreMissing = index.counter(REBUILT) > 0;
  }

  /** The room of a model; the same for equal identities. */
  room(identity: ModelIdentity): ModelRoom {
    // Nearly always the one of the last call; asking a WeakMap is a part of a hit's time.
    if (this.#last?.identity === identity) return this.#last.room;
    const room = this.#byIdentity.get(identity) ?? this.#newRoom(identity);
    this.#last = { identity, room };
    return room;
  }

  #newRoom(identity: ModelIdentity): ModelRoom {
    const name = roomName(identity);
    let room = this.#rooms.get(name);
    if (!room) {
      const arena = this.arenaBytes > 0
        ? new Arena(identity.dimensions, this.arenaBytes, this.place)
        : null;
      room = { name, identity, keys: new VectorKeys(identity), arena };
      this.#rooms.set(name, room);
    }
    this.#byIdentity.set(identity, room);
    return room;
  }

  /**
   * Looks for a vector in the packs alone, the way of most lookups. False where it has to
   * be looked for by {@link lookup}.
   *
   * @param key as eight words
   */
  lookupPacked(
    room: ModelRoom,
    key: Uint32Array,
    into: Float32Array,
    at: number,
  ): boolean {
    this.packs.refresh();
    const { precision } = this.codec;
    for (const pack of this.packs.of(room.name)) {
      const record = pack.find(key);
      if (record < 0) continue;
      if (pack.header.codec.precision < precision) return false;
      if (!pack.read(record, into, at)) return false;
      pack.uses.note(record);
      return true;
    }
    return false;
  }

  /**
   * Looks for a vector on the disk: in the packs, then among the loose files. Says why
   * there is none that can be used.
   *
   * @param key 64 hex digits
   * @param into receives the vector from `at`
   */
  lookup(room: ModelRoom, key: string, into: Float32Array, at: number): Lookup {
    let why: Lookup = "missing";
    for (;;) {
      const generation = this.packs.generation;
      this.packs.refresh();
      const place = this.packs.find(room.name, key);
      if (place) {
        if (place.pack.header.codec.precision < this.codec.precision) why = "imprecise";
        else if (place.pack.read(place.record, into, at)) {
          place.pack.uses.note(place.record);
          return "pack"; // its row is not touched: that would cost ten times the hit
        } else why = "damaged";
      }
      const read = this.loose.read(key, room.identity.dimensions, into, at);
      if (read.state === "found") {
        if (read.header.codec.precision >= this.codec.precision) return "loose";
        return "imprecise";
      }
      if (read.state === "damaged") return "damaged";
      // A compaction may have moved the file into a pack since the packs were looked at.
      if (this.packs.generation === generation) return why;
    }
  }

  /** The rooms in use. */
  rooms(): ModelRoom[] {
    return [...this.#rooms.values()];
  }

  /** Notes uses of a loose entry, or of one that may be; written by {@link flush}. */
  touch(room: ModelRoom, key: string, text: string, hits = 1): void {
    const known = this.#accesses.get(key);
    if (known) known.hits += hits;
    else this.#accesses.set(key, { key, text, hits, accessedMs: Date.now(), room });
    if (this.#accesses.size >= ACCESS_BATCH && !this.#flushing) this.flush();
  }

  /** Notes uses of an entry that memory answered. */
  #touchAny(room: ModelRoom, { key, text, hits }: SlotUse): void {
    const place = this.packs.find(room.name, key);
    if (place) place.pack.uses.note(place.record, hits);
    else this.touch(room, key, text, hits);
  }

  /** Runs `body`, which stores, while no process removes. */
  storing<T>(body: () => T): T {
    return this.gate ? this.gate.storing(body) : body();
  }

  /** Runs `body`, which removes, while no process stores. */
  removing<T>(body: () => T): T {
    return this.gate ? this.gate.removing(body) : body();
  }

  /** Takes a vector into memory. */
  admit(room: ModelRoom, text: string, key: string, from: Float32Array, at: number) {
    room.arena?.admit(text, key, from, at, (use: SlotUse) => {
      this.#touchAny(room, use);
    });
  }

  /**
   * Writes the uses and counts to the index in one transaction. An entry that has a file
   * but no row (its writer was killed between the two) gets its row here.
   */
  flush(): void {
    if (this.index.readOnly) return;
    this.#flushing = true;
    try {
      for (const room of this.#rooms.values()) {
        for (const use of room.arena?.takeUses() ?? []) this.#touchAny(room, use);
      }
      this.packs.flushUses(Date.now());
      this.#flushRows();
    } finally {
      this.#flushing = false;
    }
  }

  #flushRows(): void {
    const delta = this.#delta();
    if (this.#accesses.size === 0 && !delta) return;
    this.index.transaction(() => {
      for (const access of this.#accesses.values()) {
        const model = this.index.modelId(access.room.identity);
        if (!this.index.addAccess(access, model)) this.#adopt(access, model);
      }
      for (const [name, by] of Object.entries(delta ?? {})) this.index.count(name, by);
    });
    this.#accesses.clear();
    this.#flushed = { ...this.counts };
  }

  #delta(): Record<string, number> | null {
    const delta: Record<string, number> = {};
    let any = false;
    for (const [name, value] of Object.entries(this.counts)) {
      delta[name] = value - this.#flushed[name as keyof SessionCounts];
      any ||= delta[name] !== 0;
    }
    return any ? delta : null;
  }

  #adopt(access: Access, model: number | null): void {
    const { key, text, accessedMs } = access;
    const raw = this.raw(key);
    if (!raw) return;
    const { codec, dimensions, payloadBytes } = raw;
    const entry = { key, codec: codec.id, dimensions, sizeBytes: payloadBytes, text };
    this.index.put(entry, model, accessedMs);
  }

  /** What is stored under a key, checked, whatever its model; null where there is nothing. */
  raw(key: string): ObjectHeader | null {
    for (const { pack, record } of this.packs.places(key)) {
      if (pack.isSound(record)) return pack.header;
    }
    const found = this.loose.readRaw(key);
    return typeof found === "string" ? null : found.header;
  }

  /** Forgets all that is held in memory. */
  forget(): void {
    this.#accesses.clear();
    for (const room of this.#rooms.values()) room.arena?.clear();
  }

  close(): void {
    for (const room of this.#rooms.values()) room.arena?.[Symbol.dispose]();
    this.gate?.[Symbol.dispose]();
    this.packs[Symbol.dispose]();
    this.loose[Symbol.dispose]();
    this.index[Symbol.dispose]();
  }
}
