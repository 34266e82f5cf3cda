/** Mappings: mmap, munmap, madvise, mincore. */
import { check, errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;

export const MADV_NORMAL = 0;
export const MADV_RANDOM = 1;
export const MADV_SEQUENTIAL = 2;
export const MADV_WILLNEED = 3;
export const MADV_DONTNEED = 4;
export const MADV_HUGEPAGE = 14;
export const MADV_POPULATE_READ = 22;

/** Bytes of a page, the unit of mappings. */
export const PAGE_BYTES = Number(sys.sysconf(30)); // _SC_PAGESIZE

const finalizer = new FinalizationRegistry<
  { address: Deno.PointerObject; length: number }
>(
  ({ address, length }) => void sys.munmap(address, BigInt(length)),
);

/**
 * A mapping that is unmapped on {@link close} or, failing that, when collected. Its views
 * must not be used after close: that would be a fault of the process.
 */
export class Mapping implements Disposable {
  readonly #address: Deno.PointerObject;
  #open = true;
  #buffer: ArrayBuffer | null = null;

  private constructor(address: Deno.PointerObject, readonly length: number) {
    this.#address = address;
    finalizer.register(this, { address, length }, this);
  }

  /**
   * mmap(2) of a file.
   *
   * @param fd open for reading (and writing for PROT_WRITE); may be closed afterwards
   * @param length bytes, over 0
   * @param prot PROT_* bits
   * @param flags MAP_SHARED or MAP_PRIVATE, with extras
   * @param offset multiple of the page size
   */
  static ofFile(
    fd: number,
    length: number,
    prot = PROT_READ,
    flags = MAP_SHARED,
    offset = 0,
  ): Mapping {
    return Mapping.#map(fd, length, prot, flags, offset);
  }

  /** mmap(2) of fresh zeroed memory, private to this process. */
  static anonymous(length: number, flags = 0): Mapping {
    return Mapping.#map(
      -1,
      length,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | flags,
      0,
    );
  }

  static #map(fd: number, length: number, prot: number, flags: number, offset: number) {
    const address = sys.mmap(null, BigInt(length), prot, flags, fd, BigInt(offset));
    const number = errno[0];
    const failed = address === null ||
      Deno.UnsafePointer.value(address) === 2n ** 64n - 1n;
    if (failed) throw new SysError("mmap", `${length} bytes`, number);
    return new Mapping(address, length);
  }

  /**
   * The mapped bytes, as one ArrayBuffer: making one costs 0.8 µs. It is made when first
   * asked for, because V8 counts its bytes as memory that it might free, and collects
   * garbage (5 ms) where a new one is of some hundred megabytes.
   */
  get buffer(): ArrayBuffer {
    return this.#buffer ??= this.window(0, this.length);
  }

  /**
   * A part of the mapped bytes as a buffer of its own. It does not keep the mapping.
   *
   * @param offset bytes from the beginning
   * @param length bytes; ends within the mapping
   */
  window(offset: number, length: number): ArrayBuffer {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new RangeError(`${offset} + ${length} is not within ${this.length} bytes`);
    }
    return Deno.UnsafePointerView.getArrayBuffer(this.address, length, offset);
  }

  /** Address of the first byte. */
  get address(): Deno.PointerObject {
    if (!this.#open) throw new TypeError("The mapping is closed");
    return this.#address;
  }

  /** madvise(2) over a page-aligned range; default the whole mapping. */
  advise(advice: number, offset = 0, length = this.length - offset): void {
    const start = offset === 0 ? this.address : Deno.UnsafePointer.create(
      Deno.UnsafePointer.value(this.address) + BigInt(offset),
    );
    check(sys.madvise(start, BigInt(length), advice), errno[0], "madvise");
  }

  /** mincore(2): one byte per page, lowest bit set when the page is resident. */
  residency(): Uint8Array<ArrayBuffer> {
    const pages = new Uint8Array(Math.ceil(this.length / PAGE_BYTES));
    check(sys.mincore(this.address, BigInt(this.length), pages), errno[0], "mincore");
    return pages;
  }

  /** munmap(2). Closing twice does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    finalizer.unregister(this);
    check(sys.munmap(this.#address, BigInt(this.length)), errno[0], "munmap");
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
