/** Shapes and random weights of BERT encoders. */
import { randomFrom, spread } from "./random.ts";

/** The sizes that make a BERT encoder (names as in Hugging Face's config.json). */
export interface BertShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly vocabulary: number;
  readonly positions: number;
}

/** all-MiniLM-L6-v2's own sizes. */
export const MINILM: BertShape = {
  layers: 6,
  hidden: 384,
  heads: 12,
  intermediate: 1536,
  vocabulary: 30522,
  positions: 512,
};

/** Small enough for tests: about 300 KB with its vocabulary. */
export const TINY: BertShape = {
  layers: 2,
  hidden: 32,
  heads: 4,
  intermediate: 64,
  vocabulary: 2000,
  positions: 128,
};

/** Kinds of sentence (segment) that BERT tells apart. */
export const TOKEN_TYPES = 2;

/** Weights by name; matrices are row-major, input × output. */
export type BertWeights = Readonly<Record<string, Float32Array<ArrayBuffer>>>;

/** Wide enough that texts come out apart, narrow enough that softmax does not saturate. */
const MATRIX_DEVIATION = 0.08;
const EMBEDDING_DEVIATION = 0.5;
const BIAS_DEVIATION = 0.05;

/**
 * Random weights, the same for the same shape and seed.
 *
 * @param seed any integer
 */
export function bertWeights(shape: BertShape, seed: number): BertWeights {
  const random = randomFrom(seed);
  const weights: Record<string, Float32Array<ArrayBuffer>> = {};
  const put = (name: string, count: number, deviation: number, centre = 0) => {
    const values = spread(random, count, deviation) as Float32Array<ArrayBuffer>;
    if (centre !== 0) { for (let i = 0; i < count; i++) values[i]! += centre; }
    weights[name] = values;
  };
  const { hidden, intermediate } = shape;
  const norm = (name: string) => {
    put(`${name}.scale`, hidden, BIAS_DEVIATION, 1);
    put(`${name}.bias`, hidden, BIAS_DEVIATION);
  };
  put("word", shape.vocabulary * hidden, EMBEDDING_DEVIATION);
  put("position", shape.positions * hidden, EMBEDDING_DEVIATION / 4);
  put("type", TOKEN_TYPES * hidden, EMBEDDING_DEVIATION / 4);
  norm("embedding_norm");
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const name of ["query", "key", "value", "attention_out"]) {
      put(`${layer}.${name}.weight`, hidden * hidden, MATRIX_DEVIATION);
      put(`${layer}.${name}.bias`, hidden, BIAS_DEVIATION);
    }
    norm(`${layer}.attention_norm`);
    put(`${layer}.up.weight`, hidden * intermediate, MATRIX_DEVIATION);
    put(`${layer}.up.bias`, intermediate, BIAS_DEVIATION);
    put(`${layer}.down.weight`, intermediate * hidden, MATRIX_DEVIATION);
    put(`${layer}.down.bias`, hidden, BIAS_DEVIATION);
    norm(`${layer}.output_norm`);
  }
  return weights;
}
