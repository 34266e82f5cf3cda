import { assertEquals } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { atOnce } from "../../lib/base/slices.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { CacheIndex } from "../../lib/cache/index.ts";
import { looseRows } from "../../lib/cache/loose_rows.ts";
import { COLD, DenseEmbedder, textsOf } from "./support.ts";

Deno.test("rows read all at once say what rows asked for one by one say", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  {
    using cache = EmbeddingCache.open(folder.path, { ...COLD, durability: "relaxed" });
    const texts = textsOf(2500);
    await cache.getOrEmbed(texts, embedder);
    await cache.getOrEmbed(texts.slice(0, 50), embedder); // some have hits
  }
  using index = CacheIndex.open(`${folder.path}/index.db`);
  const keys = index.all("SELECT lower(hex(key)) AS key FROM entries")
    .map((row) => String(row.key));
  assertEquals(keys.length, 2500); // several pieces
  index.run("UPDATE entries SET model = NULL WHERE key = (SELECT max(key) FROM entries)");
  const all = atOnce(looseRows(index, keys.length)), one = atOnce(looseRows(index, 1));
  for (const key of [...keys, "0".repeat(64)]) {
    assertEquals(all.of(key), one.of(key), key);
  }
  const rows = keys.map((key) => all.of(key)!);
  assertEquals(rows.reduce((sum, { hits }) => sum + hits, 0), 50);
  assertEquals(rows.filter(({ model }) => model === 0).length, 1);
  assertEquals(all.of("0".repeat(64)), undefined);
});
