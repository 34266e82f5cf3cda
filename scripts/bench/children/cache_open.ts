/** Opens a cache, looks one text up, says so. Argument: folder; none: does nothing. */
const folder = Deno.args[0];
if (folder !== undefined) {
  const { EmbeddingCache } = await import("../../../lib/cache/embedding_cache.ts");
  const { BENCH_IDENTITY, benchText } = await import("../../lib/cache_fill.ts");
  const cache = EmbeddingCache.open(folder);
  if (!cache.lookup(benchText(77), BENCH_IDENTITY)) throw new Error("No hit");
}
Deno.exit(0);
