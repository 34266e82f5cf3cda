/**
 * Where zstd frames begin and end. Deno's decoder stops at the end of the first frame and
 * says nothing of what follows, so frames are told apart here.
 *
 * Source: RFC 8878, sections 3.1.1 and 3.1.2.
 */

const ZSTD_MAGIC = 0xfd2fb528;
/** Skippable frames: 0x184d2a50 to 0x184d2a5f. */
const SKIPPABLE_MAGIC = 0x184d2a5;
const CHECKSUM_BYTES = 4;
/** Magic and frame header descriptor. */
const FIRST_BYTES = 5;
const SKIPPABLE_HEADER_BYTES = 8;
const BLOCK_HEADER_BYTES = 3;

/** True when four bytes (little-endian) begin a zstd or a skippable frame. */
export function isZstdMagic(magic: number): boolean {
  return magic === ZSTD_MAGIC || magic >>> 4 === SKIPPABLE_MAGIC;
}

type State = "first" | "header" | "skippable" | "block" | "body" | "tail";

/** Follows one frame through pieces of any size. */
export class FrameScanner {
  #state: State = "first";
  #held = new Uint8Array(SKIPPABLE_HEADER_BYTES);
  #have = 0;
  /** Bytes that the state still wants. */
  #want = FIRST_BYTES;
  #checksum = false;
  #last = false;
  #done = false;
  #skipped = false;

  /** True once the frame's last byte was seen. */
  get done(): boolean {
    return this.#done;
  }
  /** True when it is a skippable frame, which decodes to nothing. */
  get skippable(): boolean {
    return this.#skipped;
  }

  /**
   * Looks at the next bytes.
   * @returns how many of them belong to this frame
   * @throws {RangeError} when they begin no frame, or a block is of no known kind
   */
  push(bytes: Uint8Array): number {
    let at = 0;
    while (!this.#done && at < bytes.length) {
      const n = Math.min(this.#want, bytes.length - at);
      if (this.#state !== "body" && this.#state !== "tail" && this.#state !== "header") {
        this.#held.set(bytes.subarray(at, at + n), this.#have);
        this.#have += n;
      }
      at += n;
      this.#want -= n;
      while (this.#want === 0 && !this.#done) this.#advance();
    }
    return at;
  }

  #next(state: State, want: number): void {
    this.#state = state;
    this.#want = want;
    if (state !== "skippable") this.#have = 0;
  }

  #advance(): void {
    const held = new DataView(this.#held.buffer);
    switch (this.#state) {
      case "first":
        return this.#first(held);
      case "skippable":
        return this.#next("tail", held.getUint32(4, true));
      case "header":
        return this.#next("block", BLOCK_HEADER_BYTES);
      case "block": {
        const header = held.getUint16(0, true) | (this.#held[2]! << 16);
        this.#last = (header & 1) === 1;
        const kind = (header >> 1) & 3;
        if (kind === 3) throw new RangeError("a zstd block of a reserved kind");
        return this.#next("body", kind === 1 ? 1 : header >> 3);
      }
      case "body":
        if (!this.#last) return this.#next("block", BLOCK_HEADER_BYTES);
        return this.#next("tail", this.#checksum ? CHECKSUM_BYTES : 0);
      case "tail":
        this.#done = true;
    }
  }

  #first(held: DataView): void {
    const magic = held.getUint32(0, true);
    if (magic >>> 4 === SKIPPABLE_MAGIC) {
      this.#skipped = true;
      return this.#next("skippable", SKIPPABLE_HEADER_BYTES - FIRST_BYTES);
    }
    if (magic !== ZSTD_MAGIC) throw new RangeError("no zstd frame");
    const descriptor = this.#held[4]!, single = (descriptor >> 5) & 1;
    const dictionary = [0, 1, 2, 4][descriptor & 3]!, size = descriptor >> 6;
    this.#checksum = (descriptor & 4) !== 0;
    const sizeBytes = size === 0 ? single : 1 << size;
    this.#next("header", (single ? 0 : 1) + dictionary + sizeBytes);
  }
}

/**
 * Size of the frame at the front of `data`, which may be followed by padding.
 * @throws {RangeError} when it is no frame, or cut short
 */
export function zstdFrameBytes(data: Uint8Array): number {
  const scanner = new FrameScanner(), size = scanner.push(data);
  if (!scanner.done) throw new RangeError("a zstd frame is cut short");
  if (scanner.skippable) throw new RangeError("no zstd frame");
  return size;
}
