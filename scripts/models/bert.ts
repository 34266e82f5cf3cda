/**
 * Writes a BERT encoder as an ONNX graph: embeddings, self-attention, feed-forward, layer
 * normalisation after each (Devlin et al. 2019, arXiv:1810.04805).
 */
import { type BertShape, type BertWeights, TOKEN_TYPES } from "./bert_weights.ts";
import { FLOAT, Graph, INT32, INT64 } from "./onnx.ts";
import {
  type Activation,
  constant,
  lookUp,
  multiply,
  type Precision,
  valueType,
} from "./precision.ts";

/** What may be odd about the model, for tests of bad and unusual input. */
export interface BertOptions {
  readonly precision?: Precision;
  /** Leaves out the input token_type_ids, as DistilBERT and some exports do. */
  readonly withoutTokenTypes?: boolean;
  /** An input that nobody feeds. */
  readonly extraInput?: string;
  /** int32 inputs in place of int64. */
  readonly int32Inputs?: boolean;
  /** The output keeps the type of the computation (fp16) in place of a cast to fp32. */
  readonly keepOutputType?: boolean;
  /** What comes out: all tokens' states, the first token's alone, or their logarithms. */
  readonly output?: "states" | "first" | "logits4d" | "nan";
  readonly outputName?: string;
  /** Puts the weights into a file of this name beside the model. */
  readonly externalFile?: string;
}

const NORM_EPSILON = 1e-12;
/** Added to the scores of padding. Within fp16's range. */
const MASKED = -10000;

/** The writer's state: where nodes go, and how they compute. */
interface Writer {
  readonly graph: Graph;
  readonly shape: BertShape;
  readonly weights: BertWeights;
  readonly precision: Precision;
}

/** Writes the model; `external` holds the weights where the options ask for it. */
export function writeBert(
  shape: BertShape,
  weights: BertWeights,
  options: BertOptions = {},
): { model: Uint8Array<ArrayBuffer>; external: Uint8Array<ArrayBuffer> | null } {
  const graph = new Graph(options.externalFile);
  const writer: Writer = {
    graph,
    shape,
    weights,
    precision: options.precision ?? "fp32",
  };
  const inputType = options.int32Inputs ? INT32 : INT64;
  const axes = ["batch_size", "sequence_length"];
  const ids = graph.input("input_ids", inputType, axes);
  const mask = graph.input("attention_mask", inputType, axes);
  const types = options.withoutTokenTypes
    ? null
    : graph.input("token_type_ids", inputType, axes);
  if (options.extraInput) graph.input(options.extraInput, inputType, axes);
  let states = embeddings(writer, ids, types);
  const bias = maskBias(writer, mask);
  for (let layer = 0; layer < shape.layers; layer++) {
    states = encoderLayer(writer, layer, states, bias);
  }
  output(writer, states, options);
  return graph.write();
}

function output(writer: Writer, states: string, options: BertOptions): void {
  const { graph, shape, precision } = writer;
  const name = options.outputName ?? "last_hidden_state";
  const type = options.keepOutputType ? valueType(precision) : FLOAT;
  let value = states;
  if (options.output === "nan") {
    const zero = constant(graph, precision, "zero", [], new Float32Array(1));
    const zeroes = graph.node("Mul", [value, zero]);
    value = graph.node("Div", [zeroes, zeroes]);
  }
  const axes: (number | string)[] = ["batch_size", "sequence_length", shape.hidden];
  if (options.output === "first") {
    value = graph.node("Gather", [value, graph.int64([0], true)], { axis: 1 });
    axes.splice(1, 1);
  }
  if (options.output === "logits4d") {
    value = graph.node("Unsqueeze", [value, graph.int64([1])]);
    axes.splice(1, 0, 1);
  }
  graph.node("Cast", [value], { to: type }, [name]);
  graph.output(name, type, axes);
}

function embeddings(writer: Writer, ids: string, types: string | null): string {
  const { graph, shape, weights, precision } = writer;
  const word = lookUp(
    graph,
    precision,
    ids,
    "word",
    [shape.vocabulary, shape.hidden],
    weights["word"]!,
  );
  const length = graph.node("Gather", [
    graph.node("Shape", [ids]),
    graph.int64([1]),
  ]);
  const position = graph.node("Slice", [
    constant(
      graph,
      precision,
      "position",
      [shape.positions, shape.hidden],
      weights["position"]!,
    ),
    graph.int64([0]),
    length,
    graph.int64([0]),
  ]);
  const table: [number, number] = [TOKEN_TYPES, shape.hidden];
  // Without the input every token is of the first kind: its row is a plain bias.
  const type = types
    ? lookUp(graph, precision, types, "type", table, weights["type"]!)
    : constant(
      graph,
      precision,
      "type",
      [shape.hidden],
      weights["type"]!.slice(0, shape.hidden),
    );
  const sum = graph.node("Add", [graph.node("Add", [word, type]), position]);
  return layerNorm(writer, sum, "embedding_norm");
}

function maskBias(writer: Writer, mask: string): string {
  const { graph, precision } = writer;
  const scalar = (name: string, value: number) =>
    constant(graph, precision, name, [], new Float32Array([value]));
  const wide = graph.node("Unsqueeze", [mask, graph.int64([1, 2])]);
  const real = graph.node("Cast", [wide], { to: valueType(precision) });
  const hidden = graph.node("Sub", [scalar("one", 1), real]);
  return graph.node("Mul", [hidden, scalar("masked", MASKED)]);
}

function encoderLayer(
  writer: Writer,
  layer: number,
  input: string,
  bias: string,
): string {
  const { graph, shape } = writer;
  const { hidden, intermediate, heads } = shape;
  const states: Activation = { name: input };
  const width = hidden / heads;
  const split = graph.int64([0, 0, heads, width]);
  const head = (name: string, perm: number[]) => {
    const projected = linear(writer, states, `${layer}.${name}`, [hidden, hidden]);
    return graph.node("Transpose", [graph.node("Reshape", [projected, split])], { perm });
  };
  const query = head("query", [0, 2, 1, 3]), key = head("key", [0, 2, 3, 1]);
  const value = head("value", [0, 2, 1, 3]);
  const root = constant(
    graph,
    writer.precision,
    `${layer}.root`,
    [],
    new Float32Array([Math.sqrt(width)]),
  );
  const scores = graph.node("Div", [graph.node("MatMul", [query, key]), root]);
  const weights = graph.node("Softmax", [graph.node("Add", [scores, bias])], {
    axis: -1,
  });
  const mixed = graph.node("Transpose", [graph.node("MatMul", [weights, value])], {
    perm: [0, 2, 1, 3],
  });
  const context = graph.node("Reshape", [mixed, graph.int64([0, 0, hidden])]);
  const square: [number, number] = [hidden, hidden];
  const attended = linear(writer, { name: context }, `${layer}.attention_out`, square);
  const middle = layerNorm(
    writer,
    graph.node("Add", [attended, input]),
    `${layer}.attention_norm`,
  );
  const up = linear(writer, { name: middle }, `${layer}.up`, [hidden, intermediate]);
  const active: Activation = { name: gelu(writer, up, layer) };
  const down = linear(writer, active, `${layer}.down`, [intermediate, hidden]);
  return layerNorm(writer, graph.node("Add", [down, middle]), `${layer}.output_norm`);
}

function linear(
  writer: Writer,
  input: Activation,
  name: string,
  dims: readonly [number, number],
): string {
  const { graph, weights, precision } = writer;
  const weight = weights[`${name}.weight`]!, bias = weights[`${name}.bias`]!;
  const product = multiply(graph, precision, input, `${name}.weight`, dims, weight);
  return graph.node("Add", [
    product,
    constant(graph, precision, `${name}.bias`, [dims[1]], bias),
  ]);
}

function layerNorm(writer: Writer, input: string, name: string): string {
  const { graph, shape, weights, precision } = writer;
  const part = (kind: string) =>
    constant(
      graph,
      precision,
      `${name}.${kind}`,
      [shape.hidden],
      weights[`${name}.${kind}`]!,
    );
  return graph.node("LayerNormalization", [input, part("scale"), part("bias")], {
    axis: -1,
    epsilon: { float: NORM_EPSILON },
  });
}

/** GELU by the error function: x/2 · (1 + erf(x/√2)). */
function gelu(writer: Writer, input: string, layer: number): string {
  const { graph, precision } = writer;
  const scalar = (name: string, value: number) =>
    constant(graph, precision, `${layer}.${name}`, [], new Float32Array([value]));
  const inner = graph.node("Div", [input, scalar("sqrt2", Math.SQRT2)]);
  const erf = graph.node("Add", [graph.node("Erf", [inner]), scalar("one", 1)]);
  return graph.node("Mul", [graph.node("Mul", [input, erf]), scalar("half", 0.5)]);
}
