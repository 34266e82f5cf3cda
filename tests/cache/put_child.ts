/** Child of the tests: puts texts into a cache. Arguments: folder, count, word, [codec]. */
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { isCodecName } from "../../lib/cache/codec.ts";
import { DenseEmbedder, textsOf } from "./support.ts";

const [folder, count, word, codec = "int12"] = Deno.args;
if (!isCodecName(codec)) throw new Error(`No codec ${codec}`);
using cache = EmbeddingCache.open(folder!, { codec });
using embedder = new DenseEmbedder();
console.log("ready");
const result = await cache.getOrEmbed(textsOf(Number(count), word), embedder, {
  progress: (done) => console.log(`done ${done}`),
});
const digest = await crypto.subtle.digest("SHA-256", result.matrix);
console.log(JSON.stringify({
  matrix: new Uint8Array(digest).toHex(),
  misses: result.misses,
  healed: result.healed,
}));
