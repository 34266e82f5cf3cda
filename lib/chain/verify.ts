/**
 * Checks the whole chain: every byte of every block, the order, the head, the journal,
 * checkpoints. It only reads, and reports everything that it finds.
 */
import { isSysError } from "../../ffi/errno.ts";
import type { StrayNames } from "../../ffi/numbered_files.ts";
import { OpError } from "../base/errors.ts";
import { BlockFold, type ChainFault } from "./block_fold.ts";
import { type Checkpoint, openCheckpoint, parseNote } from "./checkpoint.ts";
import { placeOf } from "./files.ts";
import type { VerifierKey } from "./host_key.ts";
import { emptyRoot, sameHash } from "./merkle.ts";
import { ChainReader, pause } from "./reader.ts";

export type { ChainFault };

/** How often a journal is looked at whose last line is not whole. */
const LOOKS = 5;

/** What was found. */
export interface ChainReport {
  /** Nothing is wrong. */
  readonly ok: boolean;
  readonly blocks: number;
  /** Merkle root (hex) over the blocks that are there. */
  readonly root: string;
  readonly faults: readonly ChainFault[];
  /** What a crash left, to be set aside or made good by the next append. */
  readonly notes: readonly string[];
  /** Blocks whose data `chain compact` dropped. */
  readonly compacted: number;
}

/** How to verify. */
export interface VerifyOptions {
  /** Checkpoints that the chain must extend, with a name for messages. */
  readonly against?: readonly {
    readonly name: string;
    readonly checkpoint: Checkpoint;
  }[];
  /** The host's key: then the signature of the head's checkpoint is checked too. */
  readonly key?: VerifierKey;
  readonly signal?: AbortSignal;
  /** Called with every desired state (its hash, hex) that a sound block names. */
  readonly onState?: (hash: string) => void;
  /** Called now and then. @param done blocks so far @param total of how many */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Verifies a chain.
 *
 * @param folder `@timing`, or a snapshot of it. Appends may go on meanwhile: what was
 *   acknowledged when it began is verified.
 */
export async function verifyChain(
  folder: string,
  options: VerifyOptions = {},
): Promise<ChainReport> {
  const check = new Check(options.onState);
  let reader: ChainReader;
  try {
    reader = await settledReader(folder, options.signal);
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    check.fault(null, error.message);
    return check.report(emptyRoot());
  }
  using _reader = reader;
  check.names(reader);
  check.journalLines(reader);
  check.headNote(reader, options.key);
  await check.blocks(reader, options);
  return check.report();
}

/** Looks again at a journal whose end is not whole: an append may be under way. */
async function settledReader(folder: string, signal?: AbortSignal): Promise<ChainReader> {
  for (let look = 1;; look++) {
    const reader = new ChainReader(folder);
    const { journal } = reader;
    const whole = !journal ||
      (journal.cutShort === null && journal.goodBytes === journal.totalBytes);
    if (whole || look === LOOKS) return reader;
    reader[Symbol.dispose]();
    await pause(signal);
  }
}

/** One verification in progress. */
class Check {
  readonly #fold = new BlockFold();
  readonly #notes: string[] = [];

  constructor(onState?: (hash: string) => void) {
    this.#fold.onState = onState;
  }

  fault(block: number | null, problem: string): void {
    this.#fold.fault(block, problem);
  }

  /** Files in `blocks/` that are no block of this chain. */
  names(reader: ChainReader): void {
    let names: StrayNames;
    try {
      names = reader.files.strayNames(reader.size);
    } catch (error) {
      if (isSysError(error, "ENOENT") && reader.size === 0) return;
      throw error;
    }
    for (const name of names.strange) {
      if (name.startsWith(".tmp-")) {
        this.#notes.push(`${name} in blocks/ was left by a crash`);
      } else this.fault(null, `blocks/ holds ${JSON.stringify(name)}, which is no block`);
    }
    const { beyond } = names;
    if (beyond.length > 0) this.#unacknowledged(reader, beyond);
  }

  /** Blocks behind the end, unless they were acknowledged since the reader was made. */
  #unacknowledged(reader: ChainReader, numbers: readonly number[]): void {
    using now = new ChainReader(reader.files.folder);
    for (const number of numbers.filter((number) => number >= now.size)) {
      this.#notes.push(
        `block ${number} is not acknowledged: its append is under way or was cut short`,
      );
    }
  }

  journalLines({ files, journal, head }: ChainReader): void {
    if (!journal) {
      if (head.frontier.size > 0) this.fault(null, "the journal is gone");
      return;
    }
    for (const number of journal.damaged) {
      this.fault(number, "its line in the journal is damaged");
    }
    if (journal.cutShort !== null) {
      this.#notes.push(`block ${journal.cutShort} is whole, its journal line cut short`);
    }
    if (journal.totalBytes > journal.goodBytes) {
      const bytes = journal.totalBytes - journal.goodBytes;
      this.#notes.push(`the journal's last ${bytes} bytes were cut short`);
    }
    if (journal.place !== placeOf(files.folder)) {
      this.#notes.push(
        "the journal is of another boot or disk: the next append syncs it",
      );
    }
    if (journal.from > head.frontier.size) {
      this.fault(null, `head.json ends at ${head.frontier.size}, behind the journal`);
    }
  }

  headNote({ head: { frontier, note } }: ChainReader, key?: VerifierKey): void {
    if (frontier.size === 0) return;
    try {
      const { size, root } = key ? openCheckpoint(note, key) : parseNote(note).checkpoint;
      if (size === frontier.size && sameHash(root, frontier.root())) return;
      this.fault(null, "head.json does not match its own checkpoint");
    } catch (error) {
      if (!(error instanceof OpError)) throw error;
      this.fault(null, `head.json: ${error.message}`);
    }
  }

  async blocks(reader: ChainReader, options: VerifyOptions): Promise<void> {
    const journal = new Map(
      reader.journal?.entries.map((entry) => [entry.number, entry]),
    );
    const milestones = this.#milestones(reader, options.against ?? []);
    for await (const batch of reader.files.batches(0, reader.size)) {
      options.signal?.throwIfAborted();
      options.onProgress?.(batch.first, reader.size);
      for (let at = 0; at < batch.count; at++) {
        const number = batch.first + at;
        this.#fold.add(number, () => batch.bytes(at), journal.get(number));
        for (const check of milestones.get(number + 1) ?? []) check();
      }
    }
    options.onProgress?.(reader.size, reader.size);
    const fold = this.#fold;
    if (fold.lastCompacted > fold.compactedTo) this.#newerCompaction(reader);
    if (fold.lastCompacted > fold.compactedTo) {
      this.fault(fold.lastCompacted, "its data is gone, though nothing compacted it");
    }
  }

  /** A compaction that began while the blocks were read is on record behind them. */
  #newerCompaction(reader: ChainReader): void {
    using now = new ChainReader(reader.files.folder);
    for (let number = reader.size; number < now.size; number++) {
      this.#fold.noteCompaction(now.readRaw(number).header);
    }
  }

  /** What must be true at which size. */
  #milestones(reader: ChainReader, against: NonNullable<VerifyOptions["against"]>) {
    const checks = new Map<number, (() => void)[]>();
    const found = this.#fold;
    const at = (size: number, check: () => void) => {
      if (size === 0) return;
      checks.set(size, [...(checks.get(size) ?? []), check]);
    };
    const { frontier, last } = reader.head;
    at(frontier.size, () => {
      if (!sameHash(found.frontier.root(), frontier.root()) || found.last !== last) {
        this.fault(null, `head.json does not match the first ${frontier.size} blocks`);
      }
    });
    for (const { name, checkpoint: { size, root } } of against) {
      if (size > reader.size) {
        const missing = size - reader.size;
        this.fault(null, `${name} has ${size} blocks: the last ${missing} are gone`);
      }
      at(size, () => {
        if (!sameHash(found.frontier.root(), root)) {
          this.fault(null, `${name} has another root: its ${size} blocks were rewritten`);
        }
      });
    }
    return checks;
  }

  report(root = this.#fold.frontier.root()): ChainReport {
    const { faults, frontier, compacted } = this.#fold;
    return {
      ok: faults.length === 0,
      blocks: frontier.size,
      root: root.toHex(),
      faults,
      notes: this.#notes,
      compacted,
    };
  }
}
