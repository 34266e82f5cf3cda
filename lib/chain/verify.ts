/**
 * Checks the whole chain: every byte of every block, the order, the head, the journal,
 * checkpoints. It only reads, and reports everything that it finds.
 */
import { isSysError } from "../../ffi/errno.ts";
import { listFolder } from "../../ffi/directory.ts";
import { OpError } from "../base/errors.ts";
import { NO_PREVIOUS, parseBlock, withoutData } from "./block.ts";
import { type Checkpoint, openCheckpoint, parseNote } from "./checkpoint.ts";
import { placeOf } from "./files.ts";
import type { VerifierKey } from "./host_key.ts";
import type { JournalEntry } from "./journal.ts";
import { emptyRoot, Frontier, sameHash } from "./merkle.ts";
import { ChainReader, pause } from "./reader.ts";

/** Most faults that are listed; a chain that is rotten throughout has more. */
const FAULTS_LIMIT = 1000;
const BLOCKS_PER_TURN = 512;
/** How often a journal is looked at whose last line is not whole. */
const LOOKS = 5;

/** Something that is wrong. */
export interface ChainFault {
  /** The block that it is about; null for the chain's own files. */
  readonly block: number | null;
  readonly problem: string;
}

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
  const check = new Check();
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
  readonly #faults: ChainFault[] = [];
  readonly #notes: string[] = [];
  readonly #frontier = new Frontier();
  #last = NO_PREVIOUS;
  #compacted = 0;
  #lastCompacted = -1;
  #compactedTo = -1;

  fault(block: number | null, problem: string): void {
    if (this.#faults.length < FAULTS_LIMIT) this.#faults.push({ block, problem });
  }

  /** Files in `blocks/` that are no block of this chain. */
  names(reader: ChainReader): void {
    const decoder = new TextDecoder();
    const beyond: number[] = [];
    let entries: ReturnType<typeof listFolder>;
    try {
      entries = listFolder(reader.files.blocks);
    } catch (error) {
      if (isSysError(error, "ENOENT") && reader.size === 0) return;
      throw error;
    }
    for (const { name } of entries) {
      const text = decoder.decode(name);
      const number = /^(0|[1-9]\d{0,14})\.json$/.exec(text)?.[1];
      if (text.startsWith(".tmp-")) {
        this.#notes.push(`${text} in blocks/ was left by a crash`);
      } else if (number === undefined) {
        this.fault(null, `blocks/ holds ${JSON.stringify(text)}, which is no block`);
      } else if (Number(number) >= reader.size) {
        beyond.push(Number(number));
      }
    }
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
    for (let number = 0; number < reader.size; number++) {
      if (number % BLOCKS_PER_TURN === 0) {
        options.onProgress?.(number, reader.size);
        await pause(options.signal);
      }
      this.#block(reader, number, journal.get(number));
      for (const check of milestones.get(number + 1) ?? []) check(this.#frontier);
    }
    options.onProgress?.(reader.size, reader.size);
    if (this.#lastCompacted > this.#compactedTo) this.#newerCompaction(reader);
    if (this.#lastCompacted > this.#compactedTo) {
      this.fault(this.#lastCompacted, "its data is gone, though nothing compacted it");
    }
  }

  /** A compaction that began while the blocks were read is on record behind them. */
  #newerCompaction(reader: ChainReader): void {
    using now = new ChainReader(reader.files.folder);
    for (let number = reader.size; number < now.size; number++) {
      const { category, action, what } = now.readRaw(number).header;
      if (category !== "chain" || action !== "compact") continue;
      this.#compactedTo = Math.max(this.#compactedTo, compactedTo(what));
    }
  }

  #block(reader: ChainReader, number: number, entry: JournalEntry | undefined): void {
    const bytes = reader.files.readBlock(number);
    if (!bytes) {
      this.fault(number, entry ? "its file is gone; the journal has it" : "it is gone");
      return this.#skip(entry);
    }
    if (entry && !sameBlock(bytes, entry.bytes)) {
      this.fault(number, "its file differs from the journal");
    }
    try {
      const { header, leaf, dataBytes } = parseBlock(bytes);
      if (header.number !== number) {
        this.fault(number, `its file holds block ${header.number}`);
      }
      if (header.previous !== this.#last) {
        this.fault(number, "it does not follow the block before it");
      }
      if (!dataBytes) {
        this.#compacted++;
        this.#lastCompacted = number;
      }
      if (header.category === "chain" && header.action === "compact") {
        this.#compactedTo = Math.max(this.#compactedTo, compactedTo(header.what));
      }
      this.#frontier.append(leaf);
      this.#last = leaf.toHex();
    } catch (error) {
      if (!(error instanceof OpError)) throw error;
      this.fault(number, error.message);
      this.#skip(entry);
    }
  }

  /** Goes on behind a block that cannot be read, so that later faults show too. */
  #skip(entry: JournalEntry | undefined): void {
    const leaf = entry?.leaf ?? new Uint8Array(emptyRoot().length);
    this.#frontier.append(leaf);
    this.#last = leaf.toHex();
  }

  /** What must be true at which size. */
  #milestones(reader: ChainReader, against: NonNullable<VerifyOptions["against"]>) {
    const checks = new Map<number, ((frontier: Frontier) => void)[]>();
    const at = (size: number, check: (frontier: Frontier) => void) => {
      if (size === 0) return;
      checks.set(size, [...(checks.get(size) ?? []), check]);
    };
    const { frontier, last } = reader.head;
    at(frontier.size, (found) => {
      if (!sameHash(found.root(), frontier.root()) || this.#last !== last) {
        this.fault(null, `head.json does not match the first ${frontier.size} blocks`);
      }
    });
    for (const { name, checkpoint: { size, root } } of against) {
      if (size > reader.size) {
        const missing = size - reader.size;
        this.fault(null, `${name} has ${size} blocks: the last ${missing} are gone`);
      }
      at(size, (found) => {
        if (!sameHash(found.root(), root)) {
          this.fault(null, `${name} has another root: its ${size} blocks were rewritten`);
        }
      });
    }
    return checks;
  }

  report(root = this.#frontier.root()): ChainReport {
    return {
      ok: this.#faults.length === 0,
      blocks: this.#frontier.size,
      root: root.toHex(),
      faults: this.#faults,
      notes: this.#notes,
      compacted: this.#compacted,
    };
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
