/** Export: blocks as JSON lines, byte for byte as they lie on disk. */
import { pause } from "./reader.ts";
import type { ChainReader } from "./reader.ts";
import { decodeBlock } from "./block.ts";
import { type BlockFilter, matches, range } from "./search.ts";

const BLOCKS_PER_TURN = 256;

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
  for (let number = first; number <= last; number++) {
    if ((number - first) % BLOCKS_PER_TURN === 0) await pause(signal);
    const bytes = reader.bytes(number).slice();
    if (matches(decodeBlock(bytes), filter)) yield bytes;
  }
}
