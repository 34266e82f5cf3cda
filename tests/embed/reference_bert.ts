/**
 * A plain forward pass of a BERT encoder in double precision, straight from the paper's
 * formulas: the oracle for what the engines compute. Slow; for tiny models.
 */
import type { BertShape, BertWeights } from "../../scripts/models/bert_weights.ts";

type Rows = number[][];

/** The states of one text's tokens, without padding. */
export function forward(
  shape: BertShape,
  weights: BertWeights,
  ids: readonly number[],
): Rows {
  const { hidden } = shape;
  const row = (name: string, at: number) =>
    Array.from(weights[name]!.subarray(at * hidden, (at + 1) * hidden));
  let states = ids.map((id, position) =>
    sum(sum(row("word", id), row("position", position)), row("type", 0))
  ).map((state) => normalise(state, weights, "embedding_norm"));
  for (let layer = 0; layer < shape.layers; layer++) {
    const attended = attend(shape, weights, layer, states);
    const middle = states.map((state, i) =>
      normalise(sum(state, attended[i]!), weights, `${layer}.attention_norm`)
    );
    states = middle.map((state) => {
      const up = linear(state, weights, `${layer}.up`).map(gelu);
      const down = linear(up, weights, `${layer}.down`);
      return normalise(sum(state, down), weights, `${layer}.output_norm`);
    });
  }
  return states;
}

function attend(
  shape: BertShape,
  weights: BertWeights,
  layer: number,
  states: Rows,
): Rows {
  const width = shape.hidden / shape.heads;
  const project = (name: string) =>
    states.map((state) => linear(state, weights, `${layer}.${name}`));
  const query = project("query"), key = project("key"), value = project("value");
  return states.map((_, i) => {
    const mixed: number[] = [];
    for (let head = 0; head < shape.heads; head++) {
      const from = head * width, to = from + width;
      const part = (vector: number[]) => vector.slice(from, to);
      const scores = key.map((k) => dot(part(query[i]!), part(k)) / Math.sqrt(width));
      const top = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - top));
      const total = powers.reduce((a, b) => a + b);
      const context = new Array<number>(width).fill(0);
      powers.forEach((power, j) => {
        part(value[j]!).forEach((v, d) => context[d]! += power / total * v);
      });
      mixed.push(...context);
    }
    return linear(mixed, weights, `${layer}.attention_out`);
  });
}

/** Mean of the rows, scaled to length 1. */
export function meanVector(states: Rows): number[] {
  const mean = states[0]!.map((_, d) =>
    states.reduce((total, state) => total + state[d]!, 0) / states.length
  );
  return unit(mean);
}

/** Scaled to length 1. */
export function unit(vector: readonly number[]): number[] {
  const length = Math.sqrt(vector.reduce((total, v) => total + v * v, 0));
  return vector.map((v) => v / length);
}

function linear(input: number[], weights: BertWeights, name: string): number[] {
  const matrix = weights[`${name}.weight`]!, bias = weights[`${name}.bias`]!;
  const out = Array.from(bias);
  input.forEach((value, i) => {
    for (let o = 0; o < out.length; o++) out[o]! += value * matrix[i * out.length + o]!;
  });
  return out;
}

function normalise(input: number[], weights: BertWeights, name: string): number[] {
  const scale = weights[`${name}.scale`]!, bias = weights[`${name}.bias`]!;
  const mean = input.reduce((a, b) => a + b) / input.length;
  const variance = input.reduce((a, v) => a + (v - mean) ** 2, 0) / input.length;
  const deviation = Math.sqrt(variance + 1e-12);
  return input.map((v, d) => (v - mean) / deviation * scale[d]! + bias[d]!);
}

function sum(a: number[], b: number[]): number[] {
  return a.map((v, d) => v + b[d]!);
}

function dot(a: number[], b: number[]): number {
  return a.reduce((total, v, d) => total + v * b[d]!, 0);
}

function gelu(x: number): number {
  return x / 2 * (1 + erf(x / Math.SQRT2));
}

/** The error function by its Maclaurin series, or its continued fraction far out. */
export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  if (x > 6) return 1;
  if (x > 3) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (x + fraction);
    return 1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
  }
  let term = x, total = x;
  for (let n = 1; n < 200; n++) {
    term *= -x * x / n;
    total += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * total;
}
