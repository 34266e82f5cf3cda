/** What the parts of the cache share: the index, the files, memory, and the counts. */
import type { ModelIdentity } from "../embed/embedder.ts";
import { Arena, type SlotUse } from "./arena.ts";
import type { Codec } from "./codec.ts";
import { Flights } from "./flights.ts";
import type { Gate } from "./gate.ts";
import type { Access, CacheIndex } from "./index.ts";
import { VectorKeys } from "./key.ts";
import type { Durability, LooseStore } from "./loose.ts";

/** What happened since the cache was opened. */
export interface SessionCounts {
  memoryHits: number;
  looseHits: number;
  misses: number;
  /** Damaged, short or missing files that were written anew. */
  healed: number;
  /** Entries of less precision than is configured, written anew. */
  upgraded: number;
}

/** A new, empty count. */
export function zeroCounts(): SessionCounts {
  return { memoryHits: 0, looseHits: 0, misses: 0, healed: 0, upgraded: 0 };
}

/** Uses held back in memory before they are written. */
const ACCESS_BATCH = 10_000;

/** One model's part of the cache. */
export interface ModelRoom {
  readonly identity: ModelIdentity;
  readonly keys: VectorKeys;
  readonly arena: Arena | null;
}

/** The opened parts. */
export class Store {
  readonly flights = new Flights();
  readonly counts = zeroCounts();
  readonly #rooms = new Map<string, ModelRoom>();
  readonly #accesses = new Map<string, Access & { room: ModelRoom }>();
  #flushed = zeroCounts();

  constructor(
    readonly index: CacheIndex,
    readonly loose: LooseStore,
    /** Null where the cache is open for reading only. */
    readonly gate: Gate | null,
    readonly codec: Codec,
    readonly durability: Durability,
    readonly arenaBytes: number,
  ) {}

  /** The room of a model; the same for equal identities. */
  room(identity: ModelIdentity): ModelRoom {
    const keys = new VectorKeys(identity);
    const name = keys.of("");
    let room = this.#rooms.get(name);
    if (!room) {
      const arena = this.arenaBytes > 0
        ? new Arena(identity.dimensions, this.arenaBytes)
        : null;
      this.#rooms.set(name, room = { identity, keys, arena });
    }
    return room;
  }

  /** The rooms in use. */
  rooms(): ModelRoom[] {
    return [...this.#rooms.values()];
  }

  /** Notes uses of an entry; written by {@link flush}. */
  touch(room: ModelRoom, key: string, text: string, hits = 1): void {
    const known = this.#accesses.get(key);
    if (known) known.hits += hits;
    else this.#accesses.set(key, { key, text, hits, accessedMs: Date.now(), room });
    if (this.#accesses.size >= ACCESS_BATCH) this.flush();
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
      this.touch(room, use.key, use.text, use.hits);
    });
  }

  /**
   * Writes the uses and counts to the index in one transaction. An entry that has a file
   * but no row (its writer was killed between the two) gets its row here.
   */
  flush(): void {
    for (const room of this.#rooms.values()) {
      for (const use of room.arena?.takeUses() ?? []) {
        const known = this.#accesses.get(use.key);
        if (known) known.hits += use.hits;
        else this.#accesses.set(use.key, { ...use, accessedMs: Date.now(), room });
      }
    }
    const delta = this.#delta();
    if (this.index.readOnly || (this.#accesses.size === 0 && !delta)) return;
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
    const found = this.loose.readRaw(access.key);
    if (typeof found === "string") return;
    const { header, payload } = found;
    this.index.put(
      {
        key: access.key,
        codec: header.codec.id,
        dimensions: header.dimensions,
        sizeBytes: payload.length,
        text: access.text,
      },
      model,
      access.accessedMs,
    );
  }

  /** Forgets all that is held in memory. */
  forget(): void {
    this.#accesses.clear();
    for (const room of this.#rooms.values()) room.arena?.clear();
  }

  close(): void {
    for (const room of this.#rooms.values()) room.arena?.[Symbol.dispose]();
    this.gate?.[Symbol.dispose]();
    this.loose[Symbol.dispose]();
    this.index[Symbol.dispose]();
  }
}
