/**
 * LZO1X decompression, as btrfs stores extents with it.
 *
 * Source: kernel `lib/lzo/lzo1x_decompress_safe.c`, `Documentation/staging/lzo.rst` and,
 * for the framing, `fs/btrfs/lzo.c`.
 */

const LENGTH_BYTES = 4;
/** Matches of the far kind begin this far back. */
const FAR = 0x4000;
/** Matches that follow a literal run, of three bytes, begin past this. */
const NEAR = 0x800;
/** State after a run of literals, which changes what the next small code means. */
const AFTER_RUN = 4;

/**
 * Decodes an extent: total length u32, then segments of one sector each, every one with
 * its length u32 before it, which never lies across two sectors.
 *
 * @param sectorBytes sector size of the file system that wrote it
 * @param length decoded size wanted
 * @throws {RangeError} when it does not decode
 */
export function decodeLzoExtent(
  data: Uint8Array,
  sectorBytes: number,
  length: number,
): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const total = Math.min(u32(view, 0), data.length), out = new Uint8Array(length);
  let done = 0;
  for (let at = LENGTH_BYTES; at < total && done < length;) {
    const left = sectorBytes - at % sectorBytes;
    if (left < LENGTH_BYTES) at += left;
    const size = u32(view, at);
    at += LENGTH_BYTES;
    if (size > total - at) throw new RangeError("an lzo segment is cut short");
    const room = out.subarray(done, Math.min(length, done + sectorBytes));
    done += new Segment(data.subarray(at, at + size), room).decode();
    at += size;
  }
  return out;
}

function u32(view: DataView, at: number): number {
  if (at + LENGTH_BYTES > view.byteLength) throw new RangeError("lzo data are cut short");
  return view.getUint32(at, true);
}

/** One LZO1X stream. */
class Segment {
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  #at = 0;
  #done = 0;
  #state = 0;

  constructor(input: Uint8Array, output: Uint8Array) {
    this.#in = input;
    this.#out = output;
  }

  /** @returns bytes decoded */
  decode(): number {
    const first = this.#in[0] ?? 0;
    if (first > 17) {
      this.#at = 1;
      this.#literals(first - 17);
      this.#state = first - 17 < AFTER_RUN ? first - 17 : AFTER_RUN;
    }
    while (this.#step(this.#byte()));
    return this.#done;
  }

  /** One instruction; false at the end mark. */
  #step(code: number): boolean {
    if (code >= 64) {
      const back = 1 + ((code >> 2) & 7) + (this.#byte() << 3);
      this.#match(back, (code >> 5) + 1, code & 3);
    } else if (code >= 32) {
      const size = this.#long(code & 31, 31) + 2, word = this.#word();
      this.#match(1 + (word >> 2), size, word & 3);
    } else if (code >= 16) {
      const size = this.#long(code & 7, 7) + 2, word = this.#word();
      const back = ((code & 8) << 11) + (word >> 2);
      if (back === 0) return false;
      this.#match(back + FAR, size, word & 3);
    } else if (this.#state === 0) {
      this.#literals(this.#long(code, 15) + 3);
      this.#state = AFTER_RUN;
    } else {
      const run = this.#state === AFTER_RUN;
      const back = 1 + (run ? NEAR : 0) + (code >> 2) + (this.#byte() << 2);
      this.#match(back, run ? 3 : 2, code & 3);
    }
    return true;
  }

  /** A length in its code, or where that is 0, in the bytes that follow. */
  #long(length: number, base: number): number {
    if (length > 0) return length;
    let more = base;
    for (let byte = this.#byte();; byte = this.#byte()) {
      if (byte > 0) return more + byte;
      more += 255;
    }
  }

  #match(back: number, size: number, literals: number): void {
    const from = this.#done - back;
    if (from < 0) throw new RangeError("an lzo match before the beginning");
    if (size > this.#out.length - this.#done) throw new RangeError("lzo data too long");
    // Byte by byte: a match may overlap what it makes.
    for (let n = 0; n < size; n++) this.#out[this.#done + n] = this.#out[from + n]!;
    this.#done += size;
    this.#state = literals;
    this.#literals(literals);
  }

  #literals(count: number): void {
    if (count > this.#in.length - this.#at) throw new RangeError("lzo data cut short");
    if (count > this.#out.length - this.#done) throw new RangeError("lzo data too long");
    this.#out.set(this.#in.subarray(this.#at, this.#at + count), this.#done);
    this.#at += count;
    this.#done += count;
  }

  #byte(): number {
    if (this.#at >= this.#in.length) throw new RangeError("lzo data are cut short");
    return this.#in[this.#at++]!;
  }

  #word(): number {
    return this.#byte() | (this.#byte() << 8);
  }
}
