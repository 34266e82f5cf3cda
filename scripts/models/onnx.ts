/**
 * ONNX files: tensors, nodes, a graph. Field numbers are those of onnx.proto3
 * (github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
 */
import { Message } from "./protobuf.ts";

/** TensorProto.DataType. */
export const FLOAT = 1;
export const UINT8 = 2;
export const INT8 = 3;
export const INT32 = 6;
export const INT64 = 7;
export const FLOAT16 = 10;

const DEFAULT_OPSET = 17; // the first with LayerNormalization
const IR_VERSION = 8;
/** Smaller tensors stay inside the model: onnx.save_model's default. */
const EXTERNAL_FROM_BYTES = 1024;

/** Numbers (fixed) or names (symbolic), one per axis. */
export type Shape = readonly (number | string)[];

/** An attribute's value: integers are int64, other numbers float. */
type Attribute = number | readonly number[] | { readonly float: number };

/** A graph under construction. */
export class Graph {
  readonly #graph = new Message().text(2, "op-dbus test model");
  readonly #tails: Message[] = [];
  #names = 0;
  /** Bytes of tensors that go to a file of their own; null keeps them inside. */
  readonly #external: { file: string; chunks: Uint8Array[]; at: number } | null;

  /** @param externalFile puts every tensor's bytes into a file of that name */
  constructor(externalFile?: string) {
    this.#external = externalFile ? { file: externalFile, chunks: [], at: 0 } : null;
  }

  /** A name that no other value has. */
  fresh(hint: string): string {
    return `${hint}_${++this.#names}`;
  }

  /** Adds a node with one output or several; returns the first output's name. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    outputs: readonly string[] = [this.fresh(op.toLowerCase())],
  ): string {
    const node = new Message();
    for (const input of inputs) node.text(1, input);
    for (const output of outputs) node.text(2, output);
    node.text(4, op);
    for (const [name, value] of Object.entries(attributes)) {
      node.message(5, attribute(name, value));
    }
    this.#graph.message(1, node);
    return outputs[0]!;
  }

  /** Adds a constant tensor; returns its name. */
  tensor(
    name: string,
    type: number,
    dims: readonly number[],
    data: ArrayBufferView<ArrayBuffer>,
  ): string {
    const tensor = new Message();
    for (const dim of dims) tensor.int(1, dim);
    tensor.int(2, type).text(8, name);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const outside = bytes.length >= EXTERNAL_FROM_BYTES;
    if (this.#external && outside) this.#externalise(tensor, bytes, this.#external);
    else tensor.bytes(9, bytes);
    this.#graph.message(5, tensor);
    return name;
  }

  /** A small int64 constant. */
  int64(values: readonly number[], scalar = false): string {
    const name = this.fresh("const");
    const tensor = new Message();
    if (!scalar) tensor.int(1, values.length);
    const data = new BigInt64Array(values.map(BigInt));
    tensor.int(2, INT64).text(8, name).bytes(9, new Uint8Array(data.buffer));
    this.#graph.message(5, tensor);
    return name;
  }

  #externalise(
    tensor: Message,
    bytes: Uint8Array,
    external: { file: string; chunks: Uint8Array[]; at: number },
  ): void {
    const entry = (key: string, value: string) =>
      new Message().text(1, key).text(2, value);
    tensor.message(13, entry("location", external.file))
      .message(13, entry("offset", String(external.at)))
      .message(13, entry("length", String(bytes.length)))
      .int(14, 1);
    external.chunks.push(bytes);
    external.at += bytes.length;
  }

  input(name: string, type: number, shape: Shape): string {
    this.#tails.push(new Message().message(11, valueInfo(name, type, shape)));
    return name;
  }

  /** @param shape null leaves it open, as some exporters do */
  output(name: string, type: number, shape: Shape | null): void {
    this.#tails.push(new Message().message(12, valueInfo(name, type, shape)));
  }

  /** The whole file, and the file of external tensors where there is one. */
  write(): { model: Uint8Array<ArrayBuffer>; external: Uint8Array<ArrayBuffer> | null } {
    const graph = this.#graph;
    for (const tail of this.#tails) graph.raw(tail.write());
    const model = new Message()
      .int(1, IR_VERSION)
      .text(2, "op-dbus")
      .message(7, graph)
      .message(8, new Message().text(1, "").int(2, DEFAULT_OPSET))
      .write();
    const external = this.#external ? join(this.#external.chunks) : null;
    return { model, external };
  }
}

function join(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

function attribute(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === "number") return message.int(3, value).int(20, 2);
  if ("float" in value) return message.float(2, value.float).int(20, 1);
  for (const item of value) message.int(8, item);
  return message.int(20, 7);
}

function valueInfo(name: string, type: number, shape: Shape | null): Message {
  const dims = new Message();
  for (const dim of shape ?? []) {
    const message = new Message();
    if (typeof dim === "number") message.int(1, dim);
    else message.text(2, dim);
    dims.message(1, message);
  }
  const tensor = new Message().int(1, type);
  if (shape) tensor.message(2, dims);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}
