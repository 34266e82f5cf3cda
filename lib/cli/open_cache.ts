/** Opens the cache of the root that a command works on. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Context } from "./context.ts";
import { openPlacement } from "./open_placement.ts";

/**
 * The cache of the root; closed when the command ends.
 *
 * @param readOnly answers hits only; works on a read-only root too. A cache that nobody
 *   has used yet is made all the same, so that it can be looked at.
 * @throws {OpError} `no_root` with the way to make one, and what opening gives
 */
export async function openCache(
  context: Context,
  readOnly = false,
): Promise<EmbeddingCache> {
  const { EmbeddingCache } = await import("../cache/embedding_cache.ts");
  const { requireRoot } = await import("../base/root.ts");
  const { config, layout } = context;
  requireRoot(layout.root);
  const placement = readOnly ? null : await openPlacement(context);
  const cache = EmbeddingCache.open(layout.embeddings, {
    codec: config.get("cache.codec"),
    durability: config.get("cache.durability"),
    arenaBytes: config.get("cache.arena_size"),
    readOnly: readOnly && exists(layout.index),
    ...(placement && { placement }),
  });
  context.onClose(() => cache.close());
  return cache;
}

/** True when there is a file at a path. */
function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
