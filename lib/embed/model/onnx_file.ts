/**
 * What an ONNX file says about itself, read without ONNX Runtime: inputs, outputs,
 * operators, files of weights beside it.
 *
 * Source: onnx.proto3, github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 */
import { close, O_RDONLY, open } from "../../../ffi/files.ts";
import { fstat } from "../../../ffi/stat.ts";
import { InputError } from "../../base/errors.ts";
import { type Field, MessageFile, ProtobufError } from "./protobuf.ts";

/** A graph's input or output. */
export interface ValueInfo {
  readonly name: string;
  /** TensorProto.DataType: 1 float, 6 int32, 7 int64, 10 float16. */
  readonly type: number;
  /** A number per axis, -1 where it varies; null where the file does not say. */
  readonly shape: readonly number[] | null;
}

/** The file's own account. */
export interface OnnxFile {
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Names of the operators used. */
  readonly operators: ReadonlySet<string>;
  /** Element types of the weights, by TensorProto.DataType, with their count of values. */
  readonly weights: ReadonlyMap<number, number>;
  /** Files beside the model that hold weights, as written in the model. */
  readonly externalFiles: ReadonlySet<string>;
}

export const TYPE_FLOAT = 1;
export const TYPE_INT8 = 3;
export const TYPE_UINT8 = 2;
export const TYPE_INT32 = 6;
export const TYPE_INT64 = 7;
export const TYPE_FLOAT16 = 10;

/** No encoder has this many. */
const MAX_VALUES = 1000;
const MAX_EXTERNAL_FILES = 1000;
/** Graphs inside nodes inside graphs; the known ones are two deep. */
const MAX_DEPTH = 20;

interface Reading {
  readonly file: MessageFile;
  readonly inputs: ValueInfo[];
  readonly outputs: ValueInfo[];
  readonly operators: Set<string>;
  readonly weights: Map<number, number>;
  readonly externalFiles: Set<string>;
  readonly initialisers: Set<string>;
}

/**
 * Reads the file's structure; weights are stepped over.
 *
 * @throws {InputError} when it is cut short or no ONNX model
 * @throws {SysError} when it cannot be opened
 */
export function readOnnxFile(path: string): OnnxFile {
  const fd = open(path, O_RDONLY);
  try {
    const reading: Reading = {
      file: new MessageFile(fd, fstat(fd, path).sizeBytes),
      inputs: [],
      outputs: [],
      operators: new Set(),
      weights: new Map(),
      externalFiles: new Set(),
      initialisers: new Set(),
    };
    readModel(reading);
    // Files of the format's first versions list the weights among the inputs.
    const inputs = reading.inputs.filter(({ name }) => !reading.initialisers.has(name));
    return { ...reading, inputs };
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new InputError(
      "bad_model",
      `Cannot read the model ${path}: ${error.message}`,
      { cause: error, hint: "fetch the file again: it is cut short or no ONNX model" },
    );
  } finally {
    close(fd);
  }
}

function readModel(reading: Reading): void {
  let graphs = 0;
  for (const field of reading.file.fields()) {
    if (field.number === 25) readNodes(reading, field, 7, 0);
    if (field.number !== 7) continue;
    graphs++;
    readGraph(reading, field);
  }
  if (graphs !== 1) throw new ProtobufError(`${graphs} graphs in place of one`);
  if (reading.outputs.length === 0) throw new ProtobufError("the graph has no output");
}

function readGraph(reading: Reading, graph: Field): void {
  const { file } = reading;
  for (const field of file.fields(graph.start, graph.end)) {
    if (field.number === 1) readNode(reading, field);
    else if (field.number === 5) readTensor(reading, field);
    else if (field.number === 11) reading.inputs.push(readValue(file, field));
    else if (field.number === 12) reading.outputs.push(readValue(file, field));
    const values = reading.inputs.length + reading.outputs.length;
    if (values > MAX_VALUES) {
      throw new ProtobufError(`over ${MAX_VALUES} inputs, outputs`);
    }
  }
}

/** The nodes of a function or of a graph inside a node, by their field's number. */
function readNodes(
  reading: Reading,
  graph: Field,
  number: number,
  depth: number,
): void {
  if (depth > MAX_DEPTH) throw new ProtobufError("graphs nested too deeply");
  for (const field of reading.file.fields(graph.start, graph.end)) {
    if (field.number === number) readNode(reading, field, depth);
    else if (number === 1 && field.number === 5) readTensor(reading, field);
  }
}

function readNode(reading: Reading, node: Field, depth = 0): void {
  const { file, operators } = reading;
  for (const field of file.fields(node.start, node.end)) {
    if (field.number === 4) operators.add(file.string(field));
    if (field.number !== 5) continue;
    // An attribute may be a tensor, with its bytes in another file, or a graph.
    for (const value of file.fields(field.start, field.end)) {
      if (value.number === 5 || value.number === 10) readTensor(reading, value);
      else if (value.number === 6 || value.number === 11) {
        readNodes(reading, value, 1, depth + 1);
      }
    }
  }
}

function readTensor(reading: Reading, tensor: Field): void {
  const { file, weights } = reading;
  let type = 0, count = 1, external = false, location: string | null = null;
  for (const field of file.fields(tensor.start, tensor.end)) {
    if (field.number === 1) count *= dims(file, field);
    else if (field.number === 2) type = field.value;
    else if (field.number === 8) reading.initialisers.add(file.string(field));
    else if (field.number === 13) location = externalLocation(file, field) ?? location;
    else if (field.number === 14) external = field.value === 1;
  }
  weights.set(type, (weights.get(type) ?? 0) + count);
  if (!external) return;
  if (location === null) throw new ProtobufError("external weights without a location");
  reading.externalFiles.add(location);
  if (reading.externalFiles.size > MAX_EXTERNAL_FILES) {
    throw new ProtobufError(`over ${MAX_EXTERNAL_FILES} files of weights`);
  }
}

/** `dims` may be packed into one field or come one by one. */
function dims(file: MessageFile, field: Field): number {
  if (field.start === field.end) return field.value;
  let product = 1;
  for (const value of file.packed(field)) product *= value;
  return product;
}

function externalLocation(file: MessageFile, entry: Field): string | null {
  let key = "", value = "";
  for (const field of file.fields(entry.start, entry.end)) {
    if (field.number === 1) key = file.string(field);
    else if (field.number === 2) value = file.string(field);
  }
  return key === "location" ? value : null;
}

function readValue(file: MessageFile, value: Field): ValueInfo {
  let name = "", type = 0;
  let shape: number[] | null = null;
  for (const field of file.fields(value.start, value.end)) {
    if (field.number === 1) name = file.string(field);
    if (field.number !== 2) continue;
    for (const tensor of file.fields(field.start, field.end)) {
      if (tensor.number !== 1) continue;
      for (const part of file.fields(tensor.start, tensor.end)) {
        if (part.number === 1) type = part.value;
        else if (part.number === 2) shape = readShape(file, part);
      }
    }
  }
  return { name, type, shape };
}

function readShape(file: MessageFile, shape: Field): number[] {
  const out: number[] = [];
  for (const dim of file.fields(shape.start, shape.end)) {
    if (dim.number !== 1) continue;
    let size = -1;
    for (const part of file.fields(dim.start, dim.end)) {
      if (part.number === 1) size = part.value;
    }
    out.push(size);
  }
  return out;
}
