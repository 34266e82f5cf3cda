/** Reading what a run of ONNX Runtime gave. */
import type { OnnxRuntime } from "./onnxruntime.ts";
import { TENSOR_FLOAT, TENSOR_FLOAT16 } from "./onnxruntime_slots.ts";

type Pointer = Deno.PointerValue;

/** An output of more axes than this is no encoder's. */
const MAX_RANK = 8;

/** One output. `data` is ONNX Runtime's own memory: gone after dispose. */
export interface OutputTensor extends Disposable {
  readonly data: Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer>;
  readonly dims: readonly number[];
}

/**
 * Reads an output; it is released when what is returned is.
 *
 * @throws {TypeError} for elements that are not floating point
 * @throws {RangeError} for more axes than an encoder's output has
 */
export function readOutput(runtime: OnnxRuntime, value: Pointer): OutputTensor {
  try {
    const info = runtime.create("GetTensorTypeAndShape", value);
    const type = new Int32Array(1), rank = new BigUint64Array(1);
    let dims: number[];
    try {
      runtime.call("GetTensorElementType", info, type);
      runtime.call("GetDimensionsCount", info, rank);
      if (rank[0]! > BigInt(MAX_RANK)) throw new RangeError(`Output of ${rank[0]} axes`);
      const sizes = new BigInt64Array(Number(rank[0]));
      runtime.call("GetDimensions", info, sizes, rank[0]!);
      dims = [...sizes].map(Number);
    } finally {
      runtime.call("ReleaseTensorTypeAndShapeInfo", info);
    }
    const count = dims.reduce((product, dim) => product * dim, 1);
    const data = elements(runtime, value, type[0]!, count);
    return {
      data,
      dims,
      [Symbol.dispose]: () => runtime.call("ReleaseValue", value),
    };
  } catch (error) {
    runtime.call("ReleaseValue", value);
    throw error;
  }
}

function elements(
  runtime: OnnxRuntime,
  value: Pointer,
  type: number,
  count: number,
): Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer> {
  const widths: Readonly<Record<number, number>> = {
    [TENSOR_FLOAT]: 4,
    [TENSOR_FLOAT16]: 2,
  };
  const width = widths[type];
  if (width === undefined) throw new TypeError(`Output of element type ${type}`);
  if (count === 0) return new Float32Array(0);
  const data = runtime.create("GetTensorMutableData", value)!;
  const bytes = Deno.UnsafePointerView.getArrayBuffer(data, count * width);
  return type === TENSOR_FLOAT ? new Float32Array(bytes) : new Float16Array(bytes);
}
