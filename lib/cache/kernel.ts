/** The SIMD kernels, ready to be called; JavaScript where SIMD does not pay or fit. */
import { KERNEL_BASE64 } from "./kernel_wasm.ts";

interface KernelExports {
  readonly memory: WebAssembly.Memory;
  decode12(src: number, dst: number, blocks: number, scale: number): void;
  dots(
    kind: number,
    query: number,
    blocks: number,
    src: number,
    stride: number,
    count: number,
    out: number,
  ): void;
}

/** Numbers per step of a kernel: dimensions must be a multiple. */
export const KERNEL_BLOCK = 8;
/** Loads of 16 bytes may run past a payload by this much. */
const OVERRUN_BYTES = 16;
const PAGE_BYTES = 65_536;

/** One instance with its memory. Not shared between threads. */
export class Kernel {
  readonly #exports: KernelExports;
  bytes: Uint8Array<ArrayBuffer>;
  floats: Float32Array<ArrayBuffer>;

  private constructor(exports: KernelExports) {
    this.#exports = exports;
    this.bytes = new Uint8Array(exports.memory.buffer as ArrayBuffer);
    this.floats = new Float32Array(exports.memory.buffer as ArrayBuffer);
  }

  /** Compiles the kernels: under a millisecond. */
  static create(): Kernel {
    const module = new WebAssembly.Module(Uint8Array.fromBase64(KERNEL_BASE64));
    const { exports } = new WebAssembly.Instance(module);
    return new Kernel(exports as unknown as KernelExports);
  }

  /** Makes sure of so many bytes of memory; the views are new afterwards. */
  reserve(bytes: number): void {
    const missing = bytes + OVERRUN_BYTES - this.bytes.length;
    if (missing <= 0) return;
    const { memory } = this.#exports;
    memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.bytes = new Uint8Array(memory.buffer as ArrayBuffer);
    this.floats = new Float32Array(memory.buffer as ArrayBuffer);
  }

  /** int12 without its scale from byte `src` to floats at byte `dst`. */
  decode12(src: number, dst: number, dimensions: number, scale: number): void {
    this.#exports.decode12(src, dst, dimensions / KERNEL_BLOCK, scale);
  }

  /**
   * Scalar product and squared length of many records, two floats each.
   *
   * @param kind the codec's number: 1, 4 or 5
   * @param query byte offset of the query's floats
   * @param src byte offset of the first record's numbers
   * @param stride bytes from one record to the next
   * @param out byte offset of the results
   */
  dots(
    kind: number,
    query: number,
    dimensions: number,
    src: number,
    stride: number,
    count: number,
    out: number,
  ): void {
    const blocks = dimensions / KERNEL_BLOCK;
    this.#exports.dots(kind, query, blocks, src, stride, count, out);
  }
}

let shared: Kernel | undefined;

/** This thread's instance, made when first asked for. */
export function kernel(): Kernel {
  return shared ??= Kernel.create();
}
