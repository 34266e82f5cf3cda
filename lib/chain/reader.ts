/**
 * Reading the chain without its lock: what is acknowledged when the reader is made. Reads
 * leave the page cache as they found it.
 */
import { setImmediate } from "node:timers";
import type { FileBatch } from "../../ffi/numbered_files.ts";
import { OpError } from "../base/errors.ts";
import { type Block, decodeBlock, type RawBlock } from "./block.ts";
import { parseBlock } from "./block.ts";
import { ChainFiles } from "./files.ts";
import { type Head, readHead } from "./head.ts";
import { type JournalContent, readJournal } from "./journal.ts";

/** The chain as it was at one moment. */
export class ChainReader implements Disposable {
  readonly files: ChainFiles;
  readonly head: Head;
  readonly journal: JournalContent | null;
  /** Acknowledged blocks. */
  readonly size: number;

  /**
   * @param folder `@timing`, or a snapshot of it
   * @throws {OpError} `chain_damaged` when head or journal cannot be read
   */
  constructor(folder: string) {
    this.files = new ChainFiles(folder);
    // The journal first: a turn in between replaces the head before the journal, so a
    // newer head only covers what this journal says too.
    this.journal = readJournal(this.files);
    this.head = readHead(this.files);
    const journalled = this.journal ? this.journal.from + this.journal.entries.length : 0;
    this.size = Math.max(this.head.frontier.size, journalled);
  }

  /**
   * One block, hash and data checked against each other (its neighbours are not).
   * @throws {OpError} `no_such_block`, `bad_block`
   */
  read(number: number): Block {
    return decodeBlock(this.#bytes(number));
  }

  /** {@link read} without parsing the data. The bytes last until the next call. */
  readRaw(number: number): RawBlock {
    return parseBlock(this.#bytes(number));
  }

  /** The bytes of a block's file; they last until the next call. */
  bytes(number: number): Uint8Array {
    return this.#bytes(number);
  }

  #bytes(number: number): Uint8Array {
    const inside = number >= 0 && number < this.size;
    const bytes = inside ? this.files.readBlock(number) : null;
    if (bytes) return bytes;
    if (inside) throw missing(number);
    const range = this.size === 0 ? "is empty" : `ends with block ${this.size - 1}`;
    throw new OpError(
      "no_such_block",
      `No block ${Math.max(0, number)}: the chain ${range}`,
      {
        hint: "op-dbus chain list shows what there is",
      },
    );
  }

  /**
   * Blocks in order, yielding to the event loop now and then.
   *
   * @param from first number
   * @param to one past the last
   * @param signal ends it early
   */
  async *blocks(from = 0, to = this.size, signal?: AbortSignal): AsyncGenerator<Block> {
    for await (const turn of this.turns(from, to, signal)) {
      for (const [, bytes] of turn) yield decodeBlock(bytes);
    }
  }

  /**
   * The bytes of the blocks' files in order, some hundreds for each turn of the event
   * loop. They lie in a buffer that the next turn overwrites.
   *
   * @param from first number
   * @param to one past the last
   * @param signal ends it early
   * @throws {OpError} `bad_block` where a file is missing
   */
  async *turns(
    from = 0,
    to = this.size,
    signal?: AbortSignal,
  ): AsyncGenerator<Iterable<[number, Uint8Array]>> {
    for await (const batch of this.files.batches(from, Math.min(to, this.size))) {
      signal?.throwIfAborted();
      yield blocksOf(batch);
    }
  }

  [Symbol.dispose](): void {
    this.files[Symbol.dispose]();
  }
}

function* blocksOf(batch: FileBatch): Iterable<[number, Uint8Array]> {
  for (let at = 0; at < batch.count; at++) {
    const bytes = batch.bytes(at);
    if (!bytes) throw missing(batch.first + at);
    yield [batch.first + at, bytes];
  }
}

function missing(number: number): OpError {
  return new OpError("bad_block", `Cannot read block ${number}: its file is missing`, {
    hint: "op-dbus chain verify shows every damaged block",
  });
}

/** Lets timers and signals have their turn. */
export async function pause(signal?: AbortSignal): Promise<void> {
  // A timer of 0 ms would wait for 1.
  await new Promise((resolve) => setImmediate(resolve));
  signal?.throwIfAborted();
}
