/** Child of the stepwise crash test: every kind of change, once. Argument: folder. */
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { DenseEmbedder, textsOf } from "./support.ts";

const say = (line: string) =>
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
using cache = EmbeddingCache.open(Deno.args[0]!, { codec: "f32", arenaBytes: 0 });
using embedder = new DenseEmbedder(48);
for (const [round, word] of ["a", "b", "c"].entries()) {
  await cache.getOrEmbed(textsOf(4, word), embedder);
  say(`put ${word} 4`);
  cache.compact({ full: round === 2 });
}
say("cleaning");
cache.clean({ maxEntries: 6 });
cache.compact({ full: true });
say("end");
