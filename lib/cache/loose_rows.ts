/** The rows of loose files, for a compaction: all of them at once where those are many. */
import type { Steps } from "../base/slices.ts";
import type { CacheIndex } from "./index.ts";
import { KEY_BYTES, newKey } from "./key.ts";
import type { Uses } from "./pack_uses.ts";

/** What a row says of a file. */
export interface LooseRow extends Uses {
  /** The number of its model. */
  readonly model: number;
}

/** Asking for one row takes as long as reading so many of them in order. */
const ASKING_COST = 4;
/** Rows that are held in memory at once, 150 bytes each. */
const HELD_LIMIT = 500_000;
const FIELDS = "model, hits, accessed_ms AS used";
const ONE = `SELECT ${FIELDS} FROM entries WHERE key = ?`;
/** Many rows as one text: an object for each costs three times as much. */
const PIECE_ROWS = 1024;
const PIECE = `SELECT group_concat(line, char(10)) AS lines, max(key) AS last FROM (
  SELECT key, lower(hex(key)) || ifnull(model, 0) || ' ' || hits || ' ' || accessed_ms
    AS line FROM entries WHERE key > ? ORDER BY key LIMIT ${PIECE_ROWS})`;
const KEY_DIGITS = KEY_BYTES * 2;

/** Makes ready to ask for the rows of so many files. */
export function* looseRows(index: CacheIndex, files: number): Steps<LooseRows> {
  const rows = Number(index.get("SELECT count(*) AS n FROM entries")?.n);
  const few = rows <= Math.min(files * ASKING_COST, HELD_LIMIT);
  return new LooseRows(index, few ? yield* readAll(index) : null);
}

function* readAll(index: CacheIndex): Steps<Map<string, string>> {
  const held = new Map<string, string>();
  let after: Uint8Array = new Uint8Array();
  for (;;) {
    yield;
    const { lines, last } = index.get(PIECE, after) ?? {};
    if (typeof lines !== "string") return held;
    for (const line of lines.split("\n")) {
      held.set(line.slice(0, KEY_DIGITS), line.slice(KEY_DIGITS));
    }
    after = last as Uint8Array;
  }
}

/** Rows by key; one without a model has number 0. */
export class LooseRows {
  readonly #key = newKey();

  /** @param held what follows the key in a line of {@link PIECE}; null to ask each time */
  constructor(
    private readonly index: CacheIndex,
    private readonly held: ReadonlyMap<string, string> | null,
  ) {}

  /** @param key 64 hex digits */
  of(key: string): LooseRow | undefined {
    if (this.held) {
      const found = this.held.get(key);
      if (found === undefined) return undefined;
      const [model, hits, used] = found.split(" ");
      return rowOf(model, hits, used);
    }
    this.#key.bytes.setFromHex(key);
    const row = this.index.get(ONE, this.#key.bytes);
    return row && rowOf(row.model, row.hits, row.used);
  }
}

function rowOf(model: unknown, hits: unknown, used: unknown): LooseRow {
  return { model: Number(model), hits: Number(hits), usedMs: Number(used) };
}
