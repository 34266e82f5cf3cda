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
  if (!readOnly) await announceWriter(context);
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

/** The cache in a snapshot, read-only; closed when the command ends. */
export async function openCacheOf(
  context: Context,
  snapshot: string,
): Promise<EmbeddingCache> {
  const { EmbeddingCache } = await import("../cache/embedding_cache.ts");
  const { findTarget } = await import("../snapshot/target.ts");
  const { findSnapshot } = await import("../snapshot/remove.ts");
  const { config, layout } = context;
  const found = findSnapshot(findTarget(layout, config, "cache"), snapshot);
  const below = layout.embeddings.slice(layout.cache.length);
  const cache = EmbeddingCache.open(`${found.path}${below}`, {
    codec: config.get("cache.codec"),
    durability: config.get("cache.durability"),
    arenaBytes: config.get("cache.arena_size"),
    readOnly: true,
  });
  context.onClose(() => cache.close());
  return cache;
}

/**
 * Shares the lock that `snapshot restore` takes alone, until the command ends. Where its
 * file cannot be made (full or read-only disk) restore still sees the open database.
 */
async function announceWriter(context: Context): Promise<void> {
  const { tryLock } = await import("../base/lock.ts");
  const { LockedError } = await import("../base/errors.ts");
  const { isSysError } = await import("../../ffi/errno.ts");
  try {
    const lock = tryLock(context.layout.lock("cache"), true);
    if (!lock) {
      throw new LockedError("locked", "Cannot write the cache: it is being restored", {
        hint: "wait for op-dbus snapshot restore to end",
      });
    }
    context.onClose(() => lock[Symbol.dispose]());
  } catch (error) {
    if (!isSysError(error, "ENOSPC", "EDQUOT", "EROFS", "EACCES")) throw error;
  }
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
