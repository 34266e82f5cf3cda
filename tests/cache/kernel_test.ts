import { assertEquals, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { CODECS } from "../../lib/cache/codec.ts";
import { decodeByHand } from "../../lib/cache/codec_int.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { KERNEL_BASE64 } from "../../lib/cache/kernel_wasm.ts";
import { SHA256_BASE64 } from "../../lib/cache/sha256_wasm.ts";
import { buildKernel, buildSha256 } from "../../scripts/lib/build_kernel.ts";
import { DenseEmbedder, denseVector, textsOf } from "./support.ts";

Deno.test("the modules in the source are built from their text", async () => {
  assertEquals(KERNEL_BASE64, (await buildKernel()).toBase64(), "run build_kernel.ts");
  assertEquals(SHA256_BASE64, (await buildSha256()).toBase64(), "run build_kernel.ts");
});

Deno.test("SIMD decodes int12 to the same bits as JavaScript", () => {
  for (const dimensions of [8, 16, 384, 1024, 65_536, 8]) {
    for (let i = 0; i < 20; i++) {
      const vector = denseVector(`v${i}`, dimensions).map((x) => x * 10 ** (i - 10));
      const payload = CODECS.int12.encode(vector)!;
      const simd = new Float32Array(dimensions), plain = new Float32Array(dimensions);
      assertTrue(CODECS.int12.decode(payload, dimensions, simd, 0));
      const scale = new DataView(payload.buffer).getFloat32(0, true);
      decodeByHand(payload, dimensions, scale, plain, 0);
      assertEquals(simd, plain);
    }
  }
});

Deno.test("SIMD search finds what looking at each vector by hand finds", async () => {
  for (const codec of Object.values(CODECS)) {
    for (const dimensions of [40, 13]) {
      await using folder = await tempFolder();
      using embedder = new DenseEmbedder(dimensions);
      using cache = EmbeddingCache.open(folder.path, {
        codec: codec.name,
        durability: "relaxed",
      });
      const texts = textsOf(600);
      const { matrix } = await cache.getOrEmbed(texts, embedder);
      cache.compact();
      const query = denseVector("query", dimensions);
      const scores = texts.map((text, i) => {
        let dot = 0, norm = 0;
        for (let j = 0; j < dimensions; j++) {
          const x = matrix[i * dimensions + j]!;
          dot += x * query[j]!;
          norm += x * x;
        }
        return { text, score: dot / Math.sqrt(norm) };
      }).sort((a, b) => b.score - a.score);
      const found = cache.search(query, 25, embedder.identity);
      assertEquals(
        found.map(({ text }) => text),
        scores.slice(0, 25).map(({ text }) => text),
        `${codec.name} ${dimensions}`,
      );
    }
  }
});
