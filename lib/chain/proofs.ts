/** Proofs about a chain that somebody can check who has only a checkpoint. */
import { OpError } from "../base/errors.ts";
import { consistencyProof, inclusionProof, rootOf } from "./merkle.ts";
import { type ChainReader, pause } from "./reader.ts";

const BLOCKS_PER_TURN = 512;

/** That a block is in the tree of a size (RFC 6962, 2.1.1). Hashes in hex. */
export interface InclusionProof {
  readonly block: number;
  readonly hash: string;
  readonly size: number;
  readonly root: string;
  readonly path: readonly string[];
}

/** That a tree extends an older one (RFC 6962, 2.1.2). Hashes in hex. */
export interface ConsistencyProof {
  readonly old_size: number;
  readonly old_root: string;
  readonly size: number;
  readonly root: string;
  readonly path: readonly string[];
}

/** The leaf hashes of the first `size` blocks. */
export async function leaves(
  reader: ChainReader,
  size: number,
  signal?: AbortSignal,
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (let number = 0; number < size; number++) {
    if (number % BLOCKS_PER_TURN === 0) await pause(signal);
    found.push(reader.readRaw(number).leaf);
  }
  return found;
}

/** @throws {OpError} `no_such_block` */
export async function proveInclusion(
  reader: ChainReader,
  block: number,
  size = reader.size,
  signal?: AbortSignal,
): Promise<InclusionProof> {
  checkSize(reader, block + 1, size);
  const all = await leaves(reader, size, signal);
  return {
    block,
    hash: all[block]!.toHex(),
    size,
    root: rootOf(all).toHex(),
    path: inclusionProof(all, block).map((hash) => hash.toHex()),
  };
}

/** @throws {OpError} `no_such_block` */
export async function proveConsistency(
  reader: ChainReader,
  oldSize: number,
  size = reader.size,
  signal?: AbortSignal,
): Promise<ConsistencyProof> {
  checkSize(reader, oldSize, size);
  const all = await leaves(reader, size, signal);
  return {
    old_size: oldSize,
    old_root: rootOf(all, 0, oldSize).toHex(),
    size,
    root: rootOf(all).toHex(),
    path: consistencyProof(all, oldSize).map((hash) => hash.toHex()),
  };
}

function checkSize(reader: ChainReader, smaller: number, size: number): void {
  if (smaller >= 1 && smaller <= size && size <= reader.size) return;
  throw new OpError(
    "no_such_block",
    `Cannot prove ${smaller} of ${size} blocks: the chain has ${reader.size}`,
    { hint: "op-dbus chain list shows what there is" },
  );
}
