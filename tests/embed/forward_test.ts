import { cosine, measureDrift } from "../../lib/embed/onnx/drift.ts";
import type { OnnxEmbedder } from "../../lib/embed/onnx/onnx_embedder.ts";
import { bertWeights, TINY } from "../../scripts/models/bert_weights.ts";
import type { FolderOptions } from "../../scripts/models/folder.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { erf, forward, meanVector, unit } from "./reference_bert.ts";
import { modelScratch, rowOf, sentences } from "./support.ts";

const TEXTS = [...sentences(24), "", "日本 語 text", "Ünïcödé 🚀", "a"];
const WEIGHTS = bertWeights(TINY, 1);

function reference(embedder: OnnxEmbedder, text: string): number[][] {
  const { ids } = embedder.tokenizer.encode(text, embedder.identity.maxTokens);
  return forward(TINY, WEIGHTS, [...ids]);
}

/** Compares every vector with the plain forward pass. */
async function assertAgrees(
  embedder: OnnxEmbedder,
  pooled: (states: number[][]) => number[],
  tolerance: number,
): Promise<void> {
  const { matrix } = await embedder.embed(TEXTS);
  const { dimensions } = embedder.identity;
  TEXTS.forEach((text, i) => {
    const expected = pooled(reference(embedder, text));
    const found = rowOf(matrix, i, dimensions);
    const worst = Math.max(...expected.map((v, d) => Math.abs(v - found[d]!)));
    assertTrue(worst < tolerance, `${JSON.stringify(text)} is off by ${worst}`);
  });
}

Deno.test("the reference's error function has the values of the tables", () => {
  // Abramowitz and Stegun, table 7.1.
  const known = [[0.5, 0.5204998778], [1, 0.8427007929], [2, 0.995322265]] as const;
  for (const [x, y] of known) assertTrue(Math.abs(erf(x) - y) < 1e-9, `erf(${x})`);
  assertTrue(Math.abs(erf(3.5) - 0.999999256901628) < 1e-12);
});

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`fp32 on ${device} computes what the formulas say`, async () => {
    await using scratch = await modelScratch();
    using embedder = await scratch.open({}, { device });
    await assertAgrees(embedder, meanVector, 1e-4);
  });

  const variants: Readonly<Record<string, FolderOptions>> = {
    "without token_type_ids": { withoutTokenTypes: true },
    "with int32 inputs": { int32Inputs: true },
    "with weights in another file": { externalFile: "model.onnx_data" },
    "in the folder itself": { flat: true },
    "with an output of another name": { outputName: "token_embeddings" },
  };
  for (const [name, options] of Object.entries(variants)) {
    Deno.test(`a model ${name} runs on ${device}`, async () => {
      await using scratch = await modelScratch();
      using embedder = await scratch.open(options, { device });
      await assertAgrees(embedder, meanVector, 1e-4);
    });
  }

  Deno.test(`cls, max and no pooling, no normalisation on ${device}`, async () => {
    await using scratch = await modelScratch();
    const max = (states: number[][]) =>
      states[0]!.map((_, d) => Math.max(...states.map((state) => state[d]!)));
    using cls = await scratch.open({ pooling: "cls" }, { device });
    await assertAgrees(cls, (states) => unit(states[0]!), 1e-4);
    using most = await scratch.open({ pooling: "max", normalise: false }, { device });
    await assertAgrees(most, max, 1e-3);
    const plainMean = (states: number[][]) =>
      states[0]!.map((_, d) =>
        states.reduce((total, state) => total + state[d]!, 0) / states.length
      );
    using mean = await scratch.open({ normalise: false }, { device });
    await assertAgrees(mean, plainMean, 1e-3);
    using none = await scratch.open({ output: "first" }, { device });
    assertEquals(none.identity.pooling, "none");
    await assertAgrees(none, (states) => unit(states[0]!), 1e-4);
  });

  Deno.test(`fp16 and int8 run on ${device}, near fp32`, async () => {
    await using scratch = await modelScratch();
    for (
      const [options, least] of [
        [{ precision: "fp16" }, 0.9999],
        [{ precision: "fp16", keepOutputType: true }, 0.9999],
        [{ precision: "int8" }, 0.98],
      ] as const
    ) {
      using embedder = await scratch.open(options, { device });
      const { matrix } = await embedder.embed(TEXTS);
      TEXTS.forEach((text, i) => {
        const expected = new Float32Array(meanVector(reference(embedder, text)));
        const found = cosine(expected, rowOf(matrix, i, embedder.identity.dimensions));
        assertTrue(found > least, `${JSON.stringify(options)} ${text}: ${found}`);
      });
    }
  });
}

Deno.test("native and WebAssembly give the same vectors", async () => {
  await using scratch = await modelScratch();
  const texts = sentences(300);
  using native = await scratch.open();
  using wasm = await scratch.open({}, { device: "wasm" });
  const a = await native.embed(texts), b = await wasm.embed(texts);
  const { dimensions } = native.identity;
  const report = measureDrift(a.matrix, b.matrix, dimensions);
  assertEquals(report.drifted, []);
  assertEquals([a.tokens, a.truncated], [b.tokens, b.truncated]);
});

for (const precision of ["fp32", "int8"] as const) {
  Deno.test(`a text's vector does not depend on its neighbours (${precision})`, async () => {
    await using scratch = await modelScratch();
    const texts = sentences(60);
    using embedder = await scratch.open({ precision });
    const { dimensions } = embedder.identity;
    const together = await embedder.embed(texts);
    const alone = new Float32Array(together.matrix.length);
    for (const [i, text] of texts.entries()) {
      alone.set((await embedder.embed([text])).matrix, i * dimensions);
    }
    const report = measureDrift(alone, together.matrix, dimensions, 0.999999);
    assertEquals(report.drifted, []);
  });
}

Deno.test("runs of one text wait for each other's results less: more are under way", async () => {
  await using scratch = await modelScratch();
  for (const [precision, times] of [["int8", 2], ["fp32", 1]] as const) {
    using embedder = await scratch.open({ precision });
    // Few enough texts for the first session, whose own wish for runs is what counts.
    const { session } = embedder, run = session.run;
    let running = 0, most = 0;
    session.run = async (feeds, signal) => {
      most = Math.max(most, ++running);
      return await run(feeds, signal).finally(() => running--);
    };
    await embedder.embed(sentences(100));
    assertEquals(most, session.concurrency * times);
  }
});
