/** Export: blocks as JSON lines, byte for byte as they lie on disk. */
import type { ChainReader } from "./reader.ts";
import { decodeBlock } from "./block.ts";
import { type BlockFilter, matches, range } from "./search.ts";

/**
 * The lines of an export, each with its newline. A line is the block file's bytes: its
 * hashes can be checked by whoever has the format.
 */
export async function* exportBlocks(
  reader: ChainReader,
  filter: BlockFilter = {},
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const [first, last] = range(reader, filter);
  for await (const turn of reader.turns(first, last + 1, signal)) {
    for (const [, bytes] of turn) {
      if (matches(decodeBlock(bytes), filter)) yield bytes.slice();
    }
  }
}
