/** What the cache holds of one model: a sample to compare with, and all of it to remove. */
import type { ModelIdentity } from "../embed/embedder.ts";
import { remove } from "./clean.ts";
import type { CacheIndex } from "./index.ts";
import type { Store } from "./store.ts";

/** What {@link removeModelVectors} removed. */
export interface ModelRemoval {
  readonly removed: number;
  readonly removedBytes: number;
}

/**
 * Texts of a model, picked at random. A long text's row holds only its start: such texts
 * are no texts of the cache, and a lookup of them finds nothing.
 */
export function sampleTexts(
  index: CacheIndex,
  identity: ModelIdentity,
  count: number,
): string[] {
  const model = index.modelId(identity);
  if (model === null) return [];
  const sql = `SELECT text FROM entries WHERE model = ? AND text IS NOT NULL
    ORDER BY random() LIMIT ?`;
  return index.all(sql, model, count).map((row) => String(row.text));
}

/**
 * Removes the vectors of a model, whatever its prefix and limit were.
 *
 * @param digest the model's, lowercase hex
 * @param dryRun only counts
 */
export function removeModelVectors(
  store: Store,
  digest: string,
  dryRun = false,
): ModelRemoval {
  store.flush();
  const sql = `SELECT e.key AS key, e.size_bytes AS size FROM entries e
    JOIN models m ON m.id = e.model WHERE m.digest = ?`;
  const keys: string[] = [];
  let removedBytes = 0;
  for (const row of store.index.iterate(sql, digest)) {
    keys.push((row.key as Uint8Array).toHex());
    removedBytes += Number(row.size);
  }
  if (!dryRun) remove(store, keys);
  return { removed: keys.length, removedBytes };
}
