/** Anonymous memory of a process that has a cache open and used it. Argument: folder. */
import { EmbeddingCache } from "../../../lib/cache/embedding_cache.ts";
import { BENCH_IDENTITY, freshText } from "../../lib/cache_fill.ts";

function anonymousBytes(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

const before = anonymousBytes();
const cache = EmbeddingCache.open(Deno.args[0]!, { arenaBytes: 0 });
const count = Number(Deno.args[1]), one = new Float32Array(384);
for (let i = 0; i < 50_000; i++) {
  const text = freshText(Math.floor(Math.random() * count));
  if (!cache.lookup(text, BENCH_IDENTITY, one)) throw new Error("No hit");
}
console.log(JSON.stringify({ bytes: anonymousBytes() - before }));
Deno.exit(0);
