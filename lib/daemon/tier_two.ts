/**
 * A second tier that hosts share: vectors in Valkey or Redis (single or cluster), asked
 * for what the own cache lacks and filled behind the answer. It may be slow, full, dead or
 * wrong: then it costs a miss and no more.
 */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import { VectorKeys, wellFormed } from "../cache/key.ts";
import type {
  Embedder,
  EmbedOptions,
  EmbedResult,
  ModelIdentity,
} from "../embed/embedder.ts";
import { Breaker } from "./breaker.ts";

/** What a shared engine must be able to do. */
export interface SharedStore {
  /** One value per key, null where there is none. */
  get(keys: readonly string[]): Promise<readonly (Uint8Array | null)[]>;
  set(entries: readonly (readonly [key: string, value: Uint8Array])[]): Promise<void>;
  close(): void;
}

/** How the tier is used. */
export interface TierOptions {
  /** A lookup that takes longer is a miss. */
  readonly timeoutMs: number;
  /** Vectors that wait to be written; more are dropped. */
  readonly queueLimit: number;
}

export const TIER_DEFAULTS: TierOptions = { timeoutMs: 50, queueLimit: 10_000 };

/** What happened to a tier. */
export interface TierCounts {
  hits: number;
  misses: number;
  /** Lookups that failed or took too long. */
  failures: number;
  /** Lookups that were not tried, since the engine had failed just before. */
  skipped: number;
  /** Values that were not what this host would have written. */
  refused: number;
  written: number;
  dropped: number;
}

const MAGIC = Buffer.from("OPV1");
const CHECKSUM_BYTES = 16;
const WRITE_BATCH = 256;
const KEY_PREFIX = "op-dbus:v1:";
/** How long closing may write what is queued. */
const CLOSE_WAIT_MS = 2000;

/** A value: magic, checksum over key and vector, the vector as float32, little endian. */
export function encodeValue(key: string, vector: Float32Array): Uint8Array {
  const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  return Buffer.concat([MAGIC, checksum(key, bytes), bytes]);
}

/** The vector of a value; null when it is not exactly what was written under this key. */
export function decodeValue(
  key: string,
  value: Uint8Array,
  dimensions: number,
): Float32Array | null {
  const start = MAGIC.length + CHECKSUM_BYTES;
  if (value.length !== start + 4 * dimensions) return null;
  const bytes = new Uint8Array(value.subarray(start)); // a copy: floats must be aligned
  if (!MAGIC.equals(value.subarray(0, MAGIC.length))) return null;
  if (!checksum(key, bytes).equals(value.subarray(MAGIC.length, start))) return null;
  const vector = new Float32Array(bytes.buffer, bytes.byteOffset, dimensions);
  return vector.every(Number.isFinite) ? vector : null;
}

function checksum(key: string, bytes: Uint8Array): Buffer {
  const input = Buffer.concat([Buffer.from(key), bytes]);
  return hash("sha256", input, "buffer").subarray(0, CHECKSUM_BYTES);
}

/** The shared store behind time limits and a breaker. */
export class TierTwo {
  readonly counts: TierCounts = {
    hits: 0,
    misses: 0,
    failures: 0,
    skipped: 0,
    refused: 0,
    written: 0,
    dropped: 0,
  };
  readonly breaker = new Breaker();
  readonly #queue: [string, Uint8Array][] = [];
  #writing = false;
  #writes: Promise<void> = Promise.resolve();

  constructor(
    readonly store: SharedStore,
    readonly options: TierOptions = TIER_DEFAULTS,
  ) {}

  /** Vectors by key; null for each that is not to be had now. Never throws. */
  async get(
    keys: readonly string[],
    dimensions: number,
  ): Promise<(Float32Array | null)[]> {
    const none = () => keys.map(() => null);
    if (!this.breaker.closed) {
      this.counts.skipped += keys.length;
      return none();
    }
    try {
      const names = keys.map((key) => KEY_PREFIX + key);
      const values = await withTimeout(this.store.get(names), this.options.timeoutMs);
      this.breaker.success();
      return keys.map((key, i) => this.#checked(key, values[i] ?? null, dimensions));
    } catch {
      this.counts.failures++; // told by the metrics; the model answers instead
      this.breaker.failure();
      return none();
    }
  }

  #checked(key: string, value: Uint8Array | null, dimensions: number) {
    if (value === null) {
      this.counts.misses++;
      return null;
    }
    const vector = decodeValue(key, value, dimensions);
    if (vector) this.counts.hits++;
    else this.counts.refused++;
    return vector;
  }

  /** Queues a vector to be written behind the answer. */
  put(key: string, vector: Float32Array): void {
    if (!this.breaker.closed || this.#queue.length >= this.options.queueLimit) {
      this.counts.dropped++;
      return;
    }
    this.#queue.push([KEY_PREFIX + key, encodeValue(key, vector)]);
    if (!this.#writing) this.#writes = this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, WRITE_BATCH);
      try {
        await withTimeout(this.store.set(batch), 10 * this.options.timeoutMs);
        this.counts.written += batch.length;
      } catch {
        this.counts.dropped += batch.length; // a shared copy less, nothing is lost
        this.breaker.failure();
        if (!this.breaker.closed) {
          this.counts.dropped += this.#queue.splice(0).length;
        }
      }
    }
    this.#writing = false;
  }

  /** Waits until what is queued was written or dropped. */
  flush(): Promise<void> {
    return this.#writes;
  }

  /** Writes what is queued, for at most `waitMs`, and leaves the store. */
  async close(waitMs = CLOSE_WAIT_MS): Promise<void> {
    await withTimeout(this.#writes, waitMs).catch(() => {}); // a shared copy less
    this.store.close();
  }
}

/** An embedder that asks the second tier before it computes. */
export class SharedEmbedder implements Embedder {
  readonly #keys: VectorKeys;

  /** @param onHits hears how many vectors of a call the tier had */
  constructor(
    readonly inner: Embedder,
    readonly tier: TierTwo,
    readonly onHits: (count: number) => void = () => {},
  ) {
    this.#keys = new VectorKeys(inner.identity);
  }

  get identity(): ModelIdentity {
    return this.inner.identity;
  }

  /** @inheritdoc */
  async embed(
    texts: readonly string[],
    options: EmbedOptions = {},
  ): Promise<EmbedResult> {
    const { dimensions } = this.identity;
    const keys = texts.map((text) => this.#keys.of(wellFormed(text)));
    const shared = await this.tier.get(keys, dimensions);
    options.signal?.throwIfAborted();
    const missing = keys.map((_, i) => i).filter((i) => shared[i] === null);
    this.onHits(texts.length - missing.length);
    const matrix = new Float32Array(texts.length * dimensions);
    shared.forEach((vector, i) => vector && matrix.set(vector, i * dimensions));
    if (missing.length === 0) return { matrix, tokens: 0, truncated: 0 };
    const computed = await this.inner.embed(missing.map((i) => texts[i]!), options);
    missing.forEach((i, at) => {
      const row = computed.matrix.slice(at * dimensions, (at + 1) * dimensions);
      matrix.set(row, i * dimensions);
      this.tier.put(keys[i]!, row);
    });
    return { ...computed, matrix };
  }

  [Symbol.dispose](): void {
    this.inner[Symbol.dispose]();
  }
}

function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("timed out")), timeoutMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
