/**
 * The verification of blocks, one after the other: each against its hashes, its number,
 * the block before it and the journal. Faults only ever add up: what is wrong with one
 * block shows whatever comes before and behind it.
 */
import { SysError } from "../../ffi/errno.ts";
import { OpError } from "../base/errors.ts";
import { digestOf } from "../base/sha256.ts";
import { type BlockHeader, NO_PREVIOUS, parseBlock, withoutData } from "./block.ts";
import { soundBlock } from "./block_scan.ts";
import type { JournalEntry } from "./journal.ts";
import { emptyRoot, Frontier } from "./merkle.ts";

/** Most faults that are listed; a chain that is rotten throughout has more. */
const FAULTS_LIMIT = 1000;

/** Something that is wrong. */
export interface ChainFault {
  /** The block that it is about; null for the chain's own files. */
  readonly block: number | null;
  readonly problem: string;
}

/** What is known after the blocks so far. */
export class BlockFold {
  readonly faults: ChainFault[] = [];
  /** Blocks whose data `chain compact` dropped, and the last of them. */
  compacted = 0;
  lastCompacted = -1;
  /** The last block that a compaction is on record for. */
  compactedTo = -1;

  /** Called with the hash of each state that a block names. */
  onState?: ((hash: string) => void) | undefined;

  /**
   * @param frontier the tree over the blocks before the first
   * @param last hash (hex) of the block before the first
   */
  constructor(readonly frontier = new Frontier(), public last = NO_PREVIOUS) {}

  fault(block: number | null, problem: string): void {
    if (this.faults.length < FAULTS_LIMIT) this.faults.push({ block, problem });
  }

  /**
   * Checks the next block.
   *
   * @param number which it should be
   * @param read its file's bytes; null where there is none; may throw {@link SysError}
   * @param entry what the journal says of it
   */
  add(number: number, read: () => Uint8Array | null, entry?: JournalEntry): void {
    try {
      const bytes = read();
      if (!bytes) {
        this.fault(number, entry ? "its file is gone; the journal has it" : "it is gone");
        return this.#skip(entry);
      }
      if (entry && !sameBlock(bytes, entry.bytes)) {
        this.fault(number, "its file differs from the journal");
      }
      this.#block(number, bytes);
    } catch (error) {
      if (!(error instanceof OpError || error instanceof SysError)) throw error;
      this.fault(number, error.message);
      this.#skip(entry);
    }
  }

  #block(number: number, bytes: Uint8Array): void {
    const sound = soundBlock(bytes, number, this.last);
    if (sound !== null) {
      this.frontier.append(digestOf(sound));
      this.last = sound;
      return;
    }
    const { header, leaf, dataBytes } = parseBlock(bytes);
    if (header.number !== number) {
      this.fault(number, `its file holds block ${header.number}`);
    }
    if (header.previous !== this.last) {
      this.fault(number, "it does not follow the block before it");
    }
    if (!dataBytes) {
      this.compacted++;
      this.lastCompacted = number;
    }
    this.noteCompaction(header);
    if (header.state !== undefined) this.onState?.(header.state);
    this.frontier.append(leaf);
    this.last = leaf.toHex();
  }

  /** Remembers what a block of `chain compact` covers. */
  noteCompaction({ category, action, what }: BlockHeader): void {
    if (category !== "chain" || action !== "compact") return;
    this.compactedTo = Math.max(this.compactedTo, compactedTo(what));
  }

  /** Goes on behind a block that cannot be read, so that later faults show too. */
  #skip(entry: JournalEntry | undefined): void {
    const leaf = entry?.leaf ?? new Uint8Array(emptyRoot().length);
    this.frontier.append(leaf);
    this.last = leaf.toHex();
  }
}

/** The last block whose data a compaction dropped, from what its block says. */
export function compactedTo(what: string): number {
  const match = /^0\.\.(\d{1,15})$/.exec(what);
  return match ? Number(match[1]) : -1;
}

function sameBlock(file: Uint8Array, journal: Uint8Array): boolean {
  const same = (a: Uint8Array, b: Uint8Array) =>
    a.length === b.length && a.every((byte, at) => byte === b[at]);
  return same(file, journal) || same(file, withoutData(journal));
}
