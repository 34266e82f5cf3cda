/** Opens the cache of the root that a command works on. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { requireRoot } from "../base/root.ts";
import type { Context } from "./context.ts";

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
  const { config, layout } = context;
  requireRoot(layout.root);
  const cache = EmbeddingCache.open(layout.embeddings, {
    codec: config.get("cache.codec"),
    durability: config.get("cache.durability"),
    arenaBytes: config.get("cache.arena_size"),
    readOnly: readOnly && exists(layout.index),
  });
  context.onClose(() => cache.close());
  return cache;
}

/** True when there is something at a path; a link counts as itself. */
function exists(path: string): boolean {
  try {
    statAt(AT_FDCWD, path);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw error;
  }
}
