/** Opens the cache of the root that a command works on. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import { requireRoot } from "../base/root.ts";
import type { Context } from "./context.ts";

/**
 * The cache of the root; closed when the command ends.
 *
 * @param readOnly answers hits only
 * @throws {OpError} `no_root` with the way to make one, and what opening gives
 */
export async function openCache(
  context: Context,
  readOnly = false,
): Promise<EmbeddingCache> {
  const { EmbeddingCache } = await import("../cache/embedding_cache.ts");
  const { config, layout } = context;
  requireRoot(layout.root);
  const cache = EmbeddingCache.open(layout.embeddings, {
    codec: config.get("cache.codec"),
    durability: config.get("cache.durability"),
    arenaBytes: config.get("cache.arena_size"),
    readOnly,
  });
  context.onClose(() => cache.close());
  return cache;
}
