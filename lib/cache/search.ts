/** Exact nearest neighbours: every vector of the model is looked at. */
import { InputError, OpError } from "../base/errors.ts";
import type { Steps } from "../base/slices.ts";
import { KEY_BYTES } from "./key.ts";
import type { Pack } from "./pack.ts";
import { dot, type Scan, scanLoose, scanPacks } from "./scan.ts";
import type { ModelRoom, Store } from "./store.ts";

/** Most results of one search. */
export const MAX_RESULTS = 10_000;

/** One match. */
export interface Match {
  readonly key: string;
  /** Cosine similarity, -1 to 1. */
  readonly score: number;
  /** The start of the text; null where it is not known (a rebuilt index). */
  readonly text: string | null;
}

/** The best k so far, worst first: a binary heap, so memory is k. */
export class TopK {
  readonly #scores: Float64Array;
  readonly #items: Uint8Array;
  #size = 0;

  /** @throws {InputError} when k is not 1 to {@link MAX_RESULTS} */
  constructor(readonly k: number) {
    if (!Number.isInteger(k) || k < 1 || k > MAX_RESULTS) {
      throw new InputError(
        "bad_k",
        `Cannot search for ${k} results: not 1 to ${MAX_RESULTS}`,
      );
    }
    this.#scores = new Float64Array(k);
    this.#items = new Uint8Array(k * KEY_BYTES);
  }

  /** What a new one must beat; -Infinity while there is room. */
  get threshold(): number {
    return this.#size < this.k ? -Infinity : this.#scores[0]!;
  }

  /** True where a key is among the best already. */
  has(key: Uint8Array): boolean {
    for (let i = 0; i < this.#size; i++) {
      const at = i * KEY_BYTES;
      if (key.every((byte, j) => byte === this.#items[at + j])) return true;
    }
    return false;
  }

  /** @param key 32 bytes; copied */
  offer(score: number, key: Uint8Array): void {
    if (!(score > this.threshold)) return;
    let hole: number;
    if (this.#size < this.k) {
      hole = this.#size++;
      for (let up = (hole - 1) >> 1; hole > 0 && this.#scores[up]! > score;) {
        this.#move(up, hole);
        hole = up;
        up = (hole - 1) >> 1;
      }
    } else {
      hole = 0;
      for (;;) {
        let child = 2 * hole + 1;
        if (child >= this.#size) break;
        if (child + 1 < this.#size && this.#scores[child + 1]! < this.#scores[child]!) {
          child++;
        }
        if (this.#scores[child]! >= score) break;
        this.#move(child, hole);
        hole = child;
      }
    }
    this.#scores[hole] = score;
    this.#items.set(key, hole * KEY_BYTES);
  }

  #move(from: number, to: number): void {
    this.#scores[to] = this.#scores[from]!;
    this.#items.copyWithin(to * KEY_BYTES, from * KEY_BYTES, (from + 1) * KEY_BYTES);
  }

  /** Best first; equal scores by key, so that the order is always the same. */
  take(): { key: string; score: number }[] {
    const found = Array.from({ length: this.#size }, (_, i) => ({
      key: this.#items.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES).toHex(),
      score: this.#scores[i]!,
    }));
    return found.sort((a, b) => b.score - a.score || (a.key < b.key ? -1 : 1));
  }
}

/**
 * The k entries of a model nearest to a vector, by cosine. Entries may come, go and move
 * into packs between two steps: those that stay are found.
 *
 * @throws {InputError} a query of other dimensions, without a direction, or a bad k
 */
export function* search(
  store: Store,
  room: ModelRoom,
  query: Float32Array,
  k: number,
  options: Pick<Scan, "signal" | "byHand"> = {},
): Steps<Match[]> {
  const { dimensions } = room.identity;
  const queryNorm = Math.sqrt(dot(query, query));
  if (query.length !== dimensions || !(queryNorm > 0) || !Number.isFinite(queryNorm)) {
    throw new InputError(
      "bad_query",
      `Cannot search with a vector of ${query.length} numbers and length ${queryNorm}: the model ${room.identity.name} has ${dimensions} dimensions`,
    );
  }
  const best = new TopK(k);
  const scan = { store, room, query, queryNorm, best, ...options };
  const seen = new Set<Pack>();
  yield* scanPacks(scan, seen);
  yield* scanLoose(scan);
  yield* scanPacks(scan, seen); // what was loose and has moved into a pack meanwhile
  return best.take().map(({ key, score }) => ({ key, score, text: textOf(store, key) }));
}

function textOf(store: Store, key: string): string | null {
  const row = store.index.get(
    "SELECT text FROM entries WHERE key = ?",
    Uint8Array.fromHex(key),
  );
  const text = row?.text ?? null;
  if (text !== null && typeof text !== "string") {
    throw new OpError("index_damaged", `Cannot read the text of ${key}: not a text`);
  }
  return text;
}
