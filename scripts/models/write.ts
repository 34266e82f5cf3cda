/**
 * Writes a test model: `deno run -A scripts/models/write.ts DIR [minilm|tiny]
 * [fp32|fp16|int8] [SEED]`. No Python, no download; the same arguments, the same bytes.
 */
import { MINILM, TINY } from "./bert_weights.ts";
import { writeModelFolder } from "./folder.ts";
import type { Precision } from "./precision.ts";

if (import.meta.main) {
  const [path, size = "tiny", precision = "fp32", seed = "1"] = Deno.args;
  const shapes: Readonly<Record<string, typeof TINY>> = { minilm: MINILM, tiny: TINY };
  const shape = shapes[size];
  if (!path || !shape || !["fp32", "fp16", "int8"].includes(precision)) {
    console.error("usage: write.ts DIR [minilm|tiny] [fp32|fp16|int8] [SEED]");
    Deno.exit(2);
  }
  await writeModelFolder(path, {
    shape,
    precision: precision as Precision,
    seed: Number(seed),
  });
  console.log(`wrote a random ${size} model (${precision}) to ${path}`);
}
