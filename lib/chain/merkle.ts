/**
 * The Merkle tree over the blocks: roots, inclusion and consistency proofs.
 *
 * Source: RFC 6962 section 2.1 (hashes and trees), RFC 9162 sections 2.1.3.2 and 2.1.4.2
 * (how a client checks the proofs).
 */
import { hexOf, sha256 } from "../base/sha256.ts";

export { sha256 };

/** Bytes of SHA-256. */
export const HASH_BYTES = 32;

const LEAF = 0x00, NODE = 0x01;

/** What is hashed is put together here: a new array each time would cost more than SHA-256. */
const input = new Uint8Array(64 * 1024);

/** Hash of a leaf: SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(leafInput(entry));
}

/** {@link leafHash} in lowercase hex. */
export function leafHex(entry: Uint8Array): string {
  return hexOf(leafInput(entry));
}

function leafInput(entry: Uint8Array): Uint8Array {
  const into = entry.length < input.length ? input : new Uint8Array(entry.length + 1);
  into[0] = LEAF;
  into.set(entry, 1);
  return into.subarray(0, entry.length + 1);
}

/** Hash of two subtrees: SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  input[0] = NODE;
  input.set(left, 1);
  input.set(right, 1 + HASH_BYTES);
  return sha256(input.subarray(0, 1 + 2 * HASH_BYTES));
}

/** Root of the empty tree: SHA-256 of nothing. */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array());
}

/** Two hashes are the same. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/**
 * The right edge of a growing tree: the roots of its complete subtrees, largest first,
 * one per set bit of the size. Enough to append and to know the root, in log2(size).
 */
export class Frontier {
  #size = 0;
  readonly #roots: Uint8Array[] = [];

  /**
   * @param size leaves so far
   * @param roots one per set bit of `size`, largest subtree first
   */
  static of(size: number, roots: readonly Uint8Array[]): Frontier {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError("Invalid size");
    if (bitsSet(size) !== roots.length || roots.some((r) => r.length !== HASH_BYTES)) {
      throw new RangeError(`A frontier of ${size} leaves has ${bitsSet(size)} hashes`);
    }
    const frontier = new Frontier();
    frontier.#size = size;
    frontier.#roots.push(...roots);
    return frontier;
  }

  get size(): number {
    return this.#size;
  }

  get roots(): readonly Uint8Array[] {
    return this.#roots;
  }

  /** Adds one leaf. */
  append(leaf: Uint8Array): void {
    let carried = leaf;
    for (let size = this.#size; size % 2 === 1; size = Math.floor(size / 2)) {
      carried = nodeHash(this.#roots.pop()!, carried);
    }
    this.#roots.push(carried);
    this.#size++;
  }

  /** The tree's root. */
  root(): Uint8Array {
    const last = this.#roots.at(-1);
    if (last === undefined) return emptyRoot();
    return this.#roots.slice(0, -1).reduceRight(
      (right, left) => nodeHash(left, right),
      last,
    );
  }

  copy(): Frontier {
    return Frontier.of(this.#size, this.#roots);
  }
}

function bitsSet(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/** Largest power of two smaller than `n`; n > 1. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** Root over `leaves[from, to)`. */
export function rootOf(
  leaves: readonly Uint8Array[],
  from = 0,
  to = leaves.length,
): Uint8Array {
  const frontier = new Frontier();
  for (let at = from; at < to; at++) frontier.append(leaves[at]!);
  return frontier.root();
}

/**
 * Audit path of leaf `index` in the tree of the first `size` leaves, nearest first.
 * @throws {RangeError} index or size out of range
 */
export function inclusionProof(
  leaves: readonly Uint8Array[],
  index: number,
  size = leaves.length,
): Uint8Array[] {
  if (!(index >= 0 && index < size && size <= leaves.length)) {
    throw new RangeError(`No leaf ${index} in a tree of ${size} of ${leaves.length}`);
  }
  const path: Uint8Array[] = [];
  let from = 0, to = size;
  while (to - from > 1) {
    const middle = from + split(to - from);
    if (index < middle) {
      path.push(rootOf(leaves, middle, to));
      to = middle;
    } else {
      path.push(rootOf(leaves, from, middle));
      from = middle;
    }
  }
  return path.reverse();
}

/**
 * Proof that the tree of the first `oldSize` leaves is a prefix of that of `newSize`.
 * @throws {RangeError} sizes out of range
 */
export function consistencyProof(
  leaves: readonly Uint8Array[],
  oldSize: number,
  newSize = leaves.length,
): Uint8Array[] {
  if (!(oldSize >= 0 && oldSize <= newSize && newSize <= leaves.length)) {
    throw new RangeError(`No proof from ${oldSize} to ${newSize} of ${leaves.length}`);
  }
  if (oldSize === 0 || oldSize === newSize) return [];
  const path: Uint8Array[] = [];
  let from = 0, to = newSize, whole = true;
  while (oldSize !== to) {
    const middle = from + split(to - from);
    if (oldSize <= middle) {
      path.push(rootOf(leaves, middle, to));
      to = middle;
    } else {
      path.push(rootOf(leaves, from, middle));
      from = middle;
      whole = false;
    }
  }
  if (!whole) path.push(rootOf(leaves, from, to));
  return path.reverse();
}

/** Checks an audit path (RFC 9162, 2.1.3.2). */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!(index >= 0 && index < size)) return false;
  let fn = index, sn = size - 1, r = leaf;
  for (const p of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && sameHash(r, root);
}

/** Checks a consistency proof (RFC 9162, 2.1.4.2). */
export function verifyConsistency(
  oldSize: number,
  newSize: number,
  oldRoot: Uint8Array,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!(oldSize >= 0 && oldSize <= newSize)) return false;
  if (oldSize === newSize) return proof.length === 0 && sameHash(oldRoot, newRoot);
  if (oldSize === 0) return proof.length === 0 && sameHash(oldRoot, emptyRoot());
  const path = bitsSet(oldSize) === 1 ? [oldRoot, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined) return false;
  let fn = oldSize - 1, sn = newSize - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  let fr = first, sr = first;
  for (const c of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && sameHash(fr, oldRoot) && sameHash(sr, newRoot);
}
