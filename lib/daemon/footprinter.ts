/** The embedding cache as the chain sees it: where hot and cold path meet. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Footprinter } from "../chain/footprints.ts";
import type { Embedder } from "../embed/embedder.ts";

/**
 * Embeds the texts of blocks through the cache.
 *
 * @param cache open for as long as the footprinter is used, as is `embedder`
 */
export function cacheFootprinter(cache: EmbeddingCache, embedder: Embedder): Footprinter {
  const { identity } = embedder;
  const { digest, dimensions, pooling, normalisation, prefix, maxTokens } = identity;
  return {
    identity: JSON.stringify([
      digest,
      dimensions,
      pooling,
      normalisation,
      prefix,
      maxTokens,
    ]),
    dimensions,
    async embed(texts) {
      const { matrix } = await cache.getOrEmbed(texts, embedder);
      return texts.map((_, i) => matrix.slice(i * dimensions, (i + 1) * dimensions));
    },
  };
}
