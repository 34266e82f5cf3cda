/**
 * Which bytes of a file come from where: an ordered list of pieces, so that contents can
 * be cloned, overwritten and cut without holding a byte of them.
 */

/** One piece of a file. Lengths and offsets in bytes. */
export interface Extent {
  readonly at: number;
  readonly length: number;
  /**
   * Not negative: offset in the stream of the command that carries the data.
   * Negative: `-1 - n`, the n-th file of the base tree.
   */
  readonly source: number;
  /** Where the piece begins inside its source's data. */
  readonly inner: number;
}

/** Numbers per extent in the flat array: at, length, source, inner. */
const STRIDE = 4;
/** Numbers that are spread as arguments at most: more of them overflow the stack. */
const SPREAD = 4096;

/** The pieces of one file, sorted, never overlapping; what they leave out is holes. */
export class ExtentMap {
  /** Flat, because a million small objects would cost twice the memory. */
  #flat: number[] = [];
  #covered = 0;

  /** Number of pieces. */
  get count(): number {
    return this.#flat.length / STRIDE;
  }
  /** Bytes that are not holes. */
  get coveredBytes(): number {
    return this.#covered;
  }

  get(index: number): Extent {
    const base = index * STRIDE, flat = this.#flat;
    return {
      at: flat[base]!,
      length: flat[base + 1]!,
      source: flat[base + 2]!,
      inner: flat[base + 3]!,
    };
  }

  /** Index of the first piece that ends after `offset`. */
  #find(offset: number): number {
    const flat = this.#flat;
    let low = 0, high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1, base = middle * STRIDE;
      if (flat[base]! + flat[base + 1]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Puts one piece in, over whatever was there. */
  set(at: number, length: number, source: number, inner: number): void {
    if (length === 0) return;
    const flat = this.#flat, last = flat.length - STRIDE;
    if (last < 0 || flat[last]! + flat[last + 1]! <= at) {
      flat.push(at, length, source, inner);
      this.#covered += length;
    } else this.#replace(at, at + length, [at, length, source, inner]);
  }

  /** Makes a hole. */
  clear(from: number, to: number): void {
    this.#replace(from, to, []);
  }

  /** Replaces a range by pieces (as from {@link slice}), shifted to begin at `at`. */
  paste(at: number, length: number, pieces: readonly Extent[]): void {
    const flat: number[] = [];
    for (const piece of pieces) {
      flat.push(at + piece.at, piece.length, piece.source, piece.inner);
    }
    this.#replace(at, at + length, flat);
  }

  /** The pieces of a range, cut to it, with `at` counted from its start. */
  slice(from: number, to: number): Extent[] {
    const pieces: Extent[] = [];
    if (to <= from) return pieces;
    for (let index = this.#find(from); index < this.count; index++) {
      const extent = this.get(index);
      if (extent.at >= to) break;
      const start = Math.max(extent.at, from);
      const end = Math.min(extent.at + extent.length, to);
      const inner = extent.inner + (start - extent.at);
      pieces.push({
        at: start - from,
        length: end - start,
        source: extent.source,
        inner,
      });
    }
    return pieces;
  }

  #replace(from: number, to: number, pieces: number[]): void {
    if (to <= from) return;
    const first = this.#find(from);
    const replacement: number[] = [];
    let after = first, removed = 0;
    for (; after < this.count; after++) {
      const { at, length, source, inner } = this.get(after);
      if (at >= to) break;
      removed += length;
      if (at < from) replacement.push(at, from - at, source, inner);
    }
    for (const number of pieces) replacement.push(number);
    if (after > first) {
      const { at, length, source, inner } = this.get(after - 1);
      const rest = at + length - to;
      if (rest > 0) replacement.push(to, rest, source, inner + (to - at));
    }
    for (let n = 1; n < replacement.length; n += STRIDE) {
      this.#covered += replacement[n]!;
    }
    this.#covered -= removed;
    this.#splice(first * STRIDE, after * STRIDE, replacement);
  }

  #splice(start: number, end: number, replacement: number[]): void {
    if (replacement.length <= SPREAD) {
      this.#flat.splice(start, end - start, ...replacement);
    } else {
      this.#flat = this.#flat.slice(0, start).concat(replacement, this.#flat.slice(end));
    }
  }

  /** A copy that changes no more with this one. */
  copy(): ExtentMap {
    const other = new ExtentMap();
    for (const number of this.#flat) other.#flat.push(number);
    other.#covered = this.#covered;
    return other;
  }
}
