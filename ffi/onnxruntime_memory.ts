/** Passing strings and pointers to ONNX Runtime's C API and back. */
import { cString } from "./libc.ts";

type Pointer = Deno.PointerValue;

/** Bytes of a pointer on both supported architectures. */
const POINTER_BYTES = 8;

/** C strings and the array of pointers to them. */
export class StringList {
  readonly pointers: BigUint64Array<ArrayBuffer>;
  readonly #strings: Uint8Array<ArrayBuffer>[];

  constructor(strings: readonly string[]) {
    this.#strings = strings.map(cString);
    this.pointers = new BigUint64Array(
      this.#strings.map((bytes) =>
        Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes))
      ),
    );
  }

  get length(): number {
    return this.#strings.length;
  }
}

/** Does nothing, but the engine cannot collect `value` before this is reached. */
export function keepAlive(value: unknown): void {
  if (value === keepAlive) throw new TypeError("unreachable");
}

/** A copy of `count` pointers in a row. */
export function readTable(at: Pointer, count: number): BigUint64Array {
  if (at === null || count === 0) return new BigUint64Array(0);
  const bytes = Deno.UnsafePointerView.getArrayBuffer(at, count * POINTER_BYTES);
  return new BigUint64Array(bytes.slice(0));
}

/** An address as a pointer. */
export function pointerOf(value: bigint): Pointer {
  return Deno.UnsafePointer.create(value);
}

/** A pointer as an address. */
export function address(pointer: Pointer): bigint {
  return Deno.UnsafePointer.value(pointer);
}

/** An argument of a C call as the register that holds it. */
export function word(argument: Pointer | BufferSource | number | bigint): bigint {
  if (typeof argument === "bigint") return argument;
  if (typeof argument === "number") return BigInt(argument);
  const isBuffer = argument instanceof ArrayBuffer || ArrayBuffer.isView(argument);
  return address(isBuffer ? Deno.UnsafePointer.of(argument) : argument);
}

/** A C string; empty for NULL. */
export function text(at: Pointer): string {
  return at === null ? "" : Deno.UnsafePointerView.getCString(at);
}
