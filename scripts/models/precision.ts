/** How a weight is written and multiplied: fp32, fp16, or int8 with dynamic quantisation. */
import { FLOAT, FLOAT16, type Graph, INT8 } from "./onnx.ts";

/** What the weights are stored as. */
export type Precision = "fp32" | "fp16" | "int8";

const INT8_MAX = 127;

/** TensorProto type of the values between the nodes. */
export function valueType(precision: Precision): number {
  return precision === "fp16" ? FLOAT16 : FLOAT;
}

/** A constant in the type that the nodes compute in. */
export function constant(
  graph: Graph,
  precision: Precision,
  name: string,
  dims: readonly number[],
  values: Float32Array<ArrayBuffer>,
): string {
  const fp16 = precision === "fp16";
  return graph.tensor(name, valueType(precision), dims, fp16 ? halves(values) : values);
}

/** IEEE 754 binary16, as bits. */
export function halves(values: Float32Array): Uint16Array<ArrayBuffer> {
  return new Uint16Array(new Float16Array(values).buffer);
}

/** An activation, with its quantised form made once for all the products that use it. */
export interface Activation {
  readonly name: string;
  quantised?: { readonly bytes: string; readonly scale: string; readonly zero: string };
}

/** Multiplies an activation by a weight matrix (input × output). */
export function multiply(
  graph: Graph,
  precision: Precision,
  input: Activation,
  name: string,
  dims: readonly [number, number],
  weight: Float32Array<ArrayBuffer>,
): string {
  if (precision !== "int8") {
    const matrix = constant(graph, precision, name, dims, weight);
    return graph.node("MatMul", [input.name, matrix]);
  }
  const { bytes, scale } = quantise(weight);
  const matrix = graph.tensor(`${name}_quantized`, INT8, dims, bytes);
  const matrixScale = graph.tensor(`${name}_scale`, FLOAT, [], new Float32Array([scale]));
  const matrixZero = graph.tensor(`${name}_zero_point`, INT8, [], new Int8Array(1));
  const a = input.quantised ??= quantiseAtRunTime(graph, input.name);
  const product = graph.node("MatMulInteger", [a.bytes, matrix, a.zero, matrixZero]);
  const real = graph.node("Cast", [product], { to: FLOAT });
  return graph.node("Mul", [real, graph.node("Mul", [a.scale, matrixScale])]);
}

function quantiseAtRunTime(
  graph: Graph,
  input: string,
): Required<Activation>["quantised"] {
  const outputs = [graph.fresh("q"), graph.fresh("q_scale"), graph.fresh("q_zero")];
  graph.node("DynamicQuantizeLinear", [input], {}, outputs);
  return { bytes: outputs[0]!, scale: outputs[1]!, zero: outputs[2]! };
}

/** Rows of a table by id: the table itself is int8 where the precision is. */
export function lookUp(
  graph: Graph,
  precision: Precision,
  ids: string,
  name: string,
  dims: readonly [number, number],
  table: Float32Array<ArrayBuffer>,
): string {
  if (precision !== "int8") {
    return graph.node("Gather", [constant(graph, precision, name, dims, table), ids]);
  }
  const { bytes, scale } = quantise(table);
  const rows = graph.tensor(`${name}_quantized`, INT8, dims, bytes);
  const rowScale = graph.tensor(`${name}_scale`, FLOAT, [], new Float32Array([scale]));
  return graph.node("DequantizeLinear", [graph.node("Gather", [rows, ids]), rowScale]);
}

/** Symmetric, one scale for the whole tensor: onnxruntime's quantize_dynamic default. */
export function quantise(
  values: Float32Array,
): { bytes: Int8Array<ArrayBuffer>; scale: number } {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const scale = Math.fround(largest / INT8_MAX) || 1;
  const bytes = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) bytes[i] = Math.round(values[i]! / scale);
  return { bytes, scale };
}
