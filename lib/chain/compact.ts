/**
 * Compaction: old blocks lose their data and keep their headers, so every hash, proof
 * and checkpoint stays true. What was dropped is on record as a block of its own.
 */
import { fsyncFolder } from "../../ffi/files.ts";
import { writeAtomically } from "../base/durable.ts";
import { InputError } from "../base/errors.ts";
import { withoutData } from "./block.ts";
import type { Ledger } from "./ledger.ts";
import { ChainReader, pause } from "./reader.ts";
import { compactedTo } from "./block_fold.ts";

const BLOCKS_PER_TURN = 64;

/** What compaction does, or would do. */
export interface Compaction {
  /** Last block that loses its data; -1 where none does. */
  readonly last: number;
  /** Blocks that have data to lose. */
  readonly blocks: number;
  /** Bytes of data that go. */
  readonly freedBytes: number;
}

/**
 * What {@link compactChain} would drop.
 *
 * @param keep how many of the newest blocks keep their data
 * @param before only blocks older than this
 */
export async function planCompaction(
  reader: ChainReader,
  keep: number,
  before?: Date,
  signal?: AbortSignal,
): Promise<Compaction> {
  if (!Number.isSafeInteger(keep) || keep < 0) {
    throw new InputError("bad_keep", `Cannot keep ${keep} blocks`, {
      hint: "give a whole number, 0 or more",
    });
  }
  let last = -1, blocks = 0, freedBytes = 0;
  for (let number = 0; number < reader.size - keep; number++) {
    if (number % BLOCKS_PER_TURN === 0) await pause(signal);
    const { header, dataBytes } = reader.readRaw(number);
    if (before && Date.parse(header.time) >= before.getTime()) break;
    last = number;
    if (!dataBytes) continue;
    blocks++;
    freedBytes += dataBytes.length;
  }
  return { last: blocks === 0 ? -1 : last, blocks, freedBytes };
}

/**
 * Drops the data of the blocks of a plan. Interrupted, it goes on with the next call.
 *
 * @param who who asked for it
 */
export async function compactChain(
  ledger: Ledger,
  plan: Compaction,
  who: string,
  signal?: AbortSignal,
): Promise<void> {
  if (plan.last < 0) return;
  // On record first: data that is gone without a word would be a fault.
  await ledger.append({
    category: "chain",
    action: "compact",
    who,
    what: `0..${plan.last}`,
    data: { blocks: plan.blocks, freed_bytes: plan.freedBytes },
  });
  for (let from = 0; from <= plan.last; from += BLOCKS_PER_TURN) {
    await pause(signal);
    const to = Math.min(plan.last, from + BLOCKS_PER_TURN - 1);
    await ledger.exclusively(() => dropData(ledger, from, to));
  }
}

function dropData(ledger: Ledger, from: number, to: number): void {
  for (let number = from; number <= to; number++) {
    const bytes = ledger.files.readBlock(number);
    if (!bytes) continue; // verify tells of it; there is no data to drop
    const bare = withoutData(bytes);
    if (bare.length !== bytes.length) {
      writeAtomically(ledger.files.blockPath(number), bare);
    }
  }
  fsyncFolder(ledger.files.blocks);
}

/** The last block that a compaction dropped the data of; -1 where there was none. */
export async function lastCompacted(reader: ChainReader): Promise<number> {
  let last = -1;
  for (let number = 0; number < reader.size; number++) {
    if (number % BLOCKS_PER_TURN === 0) await pause();
    const { header } = reader.readRaw(number);
    if (header.category === "chain" && header.action === "compact") {
      last = Math.max(last, compactedTo(header.what));
    }
  }
  return last;
}
