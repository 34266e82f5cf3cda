/** op-dbus cache verify --drift: are stored vectors still what the model gives? */
import { DifferenceError } from "../base/errors.ts";
import type { Context } from "./context.ts";
import { openCache } from "./open_cache.ts";
import { type EmbedderFlags, openEmbedder } from "./open_embedder.ts";

/** Cosine that a vector keeps through a codec, where that is less than between engines. */
const LOSSY_CODECS: Readonly<Record<string, number>> = { int8: 0.999 };
/** Dynamically quantised models round differently on every CPU. */
const QUANTISED_COSINE = 0.999;
/** Drifted texts that are shown. */
const SHOWN = 10;

/** Computes some stored vectors again. @throws {DifferenceError} when some have drifted */
export async function verifyDrift(
  context: Context,
  flags: EmbedderFlags,
  count: number,
): Promise<void> {
  const { measureDrift, SAME_VECTOR_COSINE } = await import("../embed/onnx/drift.ts");
  const cache = await openCache(context, true);
  const embedder = await openEmbedder(context, flags);
  const { identity } = embedder;
  const found = cache.sampleTexts(identity, count).flatMap((text) => {
    const entry = cache.get(text, identity);
    return entry ? [{ text, entry }] : [];
  });
  const { dimensions } = identity;
  const before = new Float32Array(found.length * dimensions);
  found.forEach(({ entry }, row) => before.set(entry.vector, row * dimensions));
  const texts = found.map(({ text }) => text);
  const now = await embedder.embed(texts, { signal: context.signal });
  const tolerance = Math.min(
    SAME_VECTOR_COSINE,
    await isQuantised(context, identity.name) ? QUANTISED_COSINE : 1,
    ...found.map(({ entry }) => LOSSY_CODECS[entry.codec] ?? 1),
  );
  const report = measureDrift(before, now.matrix, dimensions, tolerance);
  context.out.result(
    {
      model: identity.name,
      compared: report.compared,
      lowest_cosine: report.lowestCosine,
      mean_cosine: report.meanCosine,
      largest_difference: report.largestDifference,
      tolerance,
      drifted: report.drifted.map(({ row, cosine }) => ({ text: texts[row]!, cosine })),
    },
    () =>
      report.compared === 0 ? `The cache holds no text of ${identity.name}` : [
        `${report.compared} vectors of ${identity.name} computed again: lowest cosine ` +
        `${report.lowestCosine.toFixed(7)}, mean ${report.meanCosine.toFixed(7)}`,
        ...report.drifted.slice(0, SHOWN).map(({ row, cosine }) =>
          `  ${cosine.toFixed(7)}  ${JSON.stringify(texts[row]!.slice(0, 60))}`
        ),
      ].join("\n"),
  );
  if (report.drifted.length === 0) return;
  throw new DifferenceError(
    "drift",
    `${report.drifted.length} of ${report.compared} vectors have drifted`,
    { hint: "compute them anew: op-dbus cache clear --embeddings, then embed again" },
  );
}

async function isQuantised(context: Context, name: string): Promise<boolean> {
  const { readModel } = await import("../embed/model/store.ts");
  return readModel(context.layout, name)?.precision === "int8";
}
