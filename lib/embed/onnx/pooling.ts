/**
 * From token states to one vector per text, as sentence-transformers does it
 * (sentence_transformers/models/Pooling.py, Normalize.py).
 */
import { OpError } from "../../base/errors.ts";
import type { ModelIdentity } from "../embedder.ts";
import type { EngineOutput } from "./engine.ts";

/** Norms below this count as this, as in torch.nn.functional.normalize. */
const SMALLEST_NORM = 1e-12;

/** One batch, as {@link pool} needs it. */
export interface PoolInput {
  readonly output: EngineOutput;
  readonly columns: number;
  /** Tokens of each text; the rest of its row is padding. */
  readonly lengths: readonly number[];
  readonly identity: ModelIdentity;
}

/**
 * Pools and normalises a batch.
 *
 * @param into the result's matrix
 * @param rows for each text of the batch, its row in `into`
 * @throws {OpError} when the output has another shape or is not finite
 */
export function pool(
  input: PoolInput,
  into: Float32Array,
  rows: readonly number[],
): void {
  const { identity } = input;
  checkShape(input);
  const sums = new Float64Array(identity.dimensions);
  for (let text = 0; text < rows.length; text++) {
    reduce(input, text, sums);
    finish(identity, sums, into, rows[text]! * identity.dimensions);
  }
}

function checkShape({ output, columns, lengths, identity }: PoolInput): void {
  const expected = identity.pooling === "none"
    ? [lengths.length, identity.dimensions]
    : [lengths.length, columns, identity.dimensions];
  const found = output.dims;
  if (expected.length === found.length && expected.every((d, i) => d === found[i])) {
    return;
  }
  throw new OpError(
    "model_output",
    `Cannot use the model ${identity.name}: its output has the shape ` +
      `${found.join(" x ")}, expected ${expected.join(" x ")}`,
    { hint: "add the model again with the right --tensor and --pooling" },
  );
}

function reduce(input: PoolInput, text: number, sums: Float64Array): void {
  const { output: { data }, columns, lengths, identity: { pooling, dimensions } } = input;
  const whole = pooling === "none" ? 1 : columns;
  const first = text * whole * dimensions;
  const tokens = pooling === "mean" || pooling === "max" ? lengths[text]! : 1;
  for (let d = 0; d < dimensions; d++) sums[d] = data[first + d]!;
  for (let token = 1; token < tokens; token++) {
    const at = first + token * dimensions;
    if (pooling === "max") {
      for (let d = 0; d < dimensions; d++) sums[d] = Math.max(sums[d]!, data[at + d]!);
    } else for (let d = 0; d < dimensions; d++) sums[d]! += data[at + d]!;
  }
  if (pooling === "mean") { for (let d = 0; d < dimensions; d++) sums[d]! /= tokens; }
}

function finish(
  identity: ModelIdentity,
  sums: Float64Array,
  into: Float32Array,
  at: number,
): void {
  let squares = 0;
  for (const value of sums) squares += value * value;
  if (!Number.isFinite(squares)) {
    throw new OpError(
      "model_output",
      `Cannot use the model ${identity.name}: it gave a vector that is not finite`,
      { hint: "the model overflows (often fp16): use its fp32 file" },
    );
  }
  const scale = identity.normalisation === "l2"
    ? 1 / Math.max(Math.sqrt(squares), SMALLEST_NORM)
    : 1;
  for (let d = 0; d < sums.length; d++) into[at + d] = sums[d]! * scale;
}
