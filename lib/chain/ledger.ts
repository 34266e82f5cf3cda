/**
 * Appending to the chain: ordered under a lock between processes, durable before it is
 * acknowledged, in groups (everything that waits when the lock is had shares one
 * fdatasync).
 *
 * Order of one group: the blocks' own files (not synced), the journal (fdatasync), the
 * acknowledgement. When the journal is full it turns over: sync, head and checkpoint,
 * fresh journal.
 */
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fdatasync,
  ftruncate,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  open,
  syncfs,
  unlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { dropPages, pwriteUncached } from "../../ffi/uncached.ts";
import { fstat, statAt } from "../../ffi/stat.ts";
import { writeDurably } from "../base/durable.ts";
import { asOpError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import type { Lock } from "../base/lock.ts";
import {
  type BlockContent,
  type BlockHeader,
  encodeBlock,
  type EncodedBlock,
  NO_PREVIOUS,
  prepare,
  type PreparedContent,
} from "./block.ts";
import { signCheckpoint } from "./checkpoint.ts";
import { ChainFiles, placeOf } from "./files.ts";
import { lockChain } from "./chain_lock.ts";
import { emptyHead, readHead, writeHead } from "./head.ts";
import { hostKey } from "./host_key.ts";
import {
  JOURNAL_FOUND_BLOCKS,
  JOURNAL_TURN_BLOCKS,
  JOURNAL_TURN_BYTES,
  type JournalContent,
  journalHeader,
  journalLines,
  readJournal,
  readJournalTail,
} from "./journal.ts";
import { Frontier } from "./merkle.ts";
import { lacksFiles, restoreFromJournal, setAside, setAsideTail } from "./recovery.ts";

/** Most blocks and bytes of one group: others wait for the lock too. */
const GROUP_BLOCKS = 512;
const GROUP_BYTES = 1024 * 1024;

/** A block that is safe on disk. */
export interface Appended {
  readonly header: BlockHeader;
  /** The block's hash, hex. */
  readonly hash: string;
}

/** How to open a ledger. */
export interface LedgerOptions {
  /** Hears what a crash left and what was made good: one line each. */
  readonly onNotice?: (notice: string) => void;
  /** Called with each group after it is safe: indexes, caches. May not throw. */
  readonly onAppended?: (blocks: readonly Appended[]) => void;
  /** The clock; default the system's. */
  readonly now?: () => Date;
  /** How long to wait for other processes; default a minute. */
  readonly lockWaitMs?: number;
}

interface Waiting {
  readonly content: PreparedContent;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** The chain, open for appending. Any number of processes may have one each. */
export class Ledger implements Disposable {
  readonly files: ChainFiles;
  readonly #options: LedgerOptions;
  readonly #queue: Waiting[] = [];
  #draining = false;
  #journalFd = -1;
  #journalBytes = 0;
  #journalBlocks = 0;
  /** Of {@link #journalBlocks}, those that were there when it was opened. */
  #foundBlocks = 0;
  #frontier = new Frontier();
  #last = NO_PREVIOUS;

  /** @param layout the root; its `meta` folder exists */
  constructor(readonly layout: Layout, options: LedgerOptions = {}) {
    this.files = new ChainFiles(layout.timing);
    this.#options = options;
  }

  /**
   * Appends one block.
   *
   * @returns once the block is on disk
   * @throws {InputError} content that is no JSON or over a limit
   * @throws {LockedError} when other processes hold the chain for too long
   * @throws {OpError} disk full, damaged chain: then nothing was appended
   */
  append(content: BlockContent): Promise<Appended> {
    const prepared = prepare(content);
    const { promise, resolve, reject } = Promise.withResolvers<Appended>();
    this.#queue.push({ content: prepared, resolve, reject });
    if (!this.#draining) void this.#drain();
    return promise;
  }

  /** Makes block files, head and a signed checkpoint durable; returns the checkpoint. */
  async checkpoint(): Promise<string> {
    using _lock = await this.#lock();
    this.#sync();
    if (this.#frontier.size === 0) {
      throw new OpError("empty_chain", "Cannot sign a checkpoint: the chain is empty", {
        hint: "it begins with the first change that op-dbus makes",
      });
    }
    return this.#turn();
  }

  /** Runs `body` while no process appends; the chain is whole on disk meanwhile. */
  async exclusively<T>(body: () => T): Promise<T> {
    using _lock = await this.#lock();
    this.#sync();
    if (this.#frontier.size > 0) this.#turn();
    return body();
  }

  /** Blocks so far, as of the last append or checkpoint of this ledger. */
  get size(): number {
    return this.#frontier.size;
  }

  [Symbol.dispose](): void {
    this.#closeJournal();
    this.files[Symbol.dispose]();
  }

  /** Never rejects: each failure goes to those whose blocks it took. */
  async #drain(): Promise<void> {
    this.#draining = true;
    await Promise.resolve(); // so that what is appended in one go shares one group
    while (this.#queue.length > 0) {
      let group: Waiting[] = [];
      try {
        using _lock = await this.#lock();
        group = this.#takeGroup();
        this.#commit(group);
      } catch (error) {
        if (group.length === 0) group = this.#queue.splice(0);
        const failure = asOpError(error, "Cannot append to the chain");
        for (const { reject } of group) reject(failure);
      }
      // Other processes wait for the lock, and this one's other work for the event loop.
      if (this.#queue.length > 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    this.#draining = false;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0, count = 0;
    for (const { content } of this.#queue) {
      bytes += content.dataText.length;
      if (count > 0 && (count >= GROUP_BLOCKS || bytes > GROUP_BYTES)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #lock(): Promise<Lock> {
    return lockChain(this.layout, this.#options.lockWaitMs);
  }

  /** Catches up with what other processes appended. Under the lock. */
  #sync(): void {
    if (this.#journalFd === -1 || !this.#sameJournal()) return this.#load();
    const size = fstat(this.#journalFd).sizeBytes;
    if (size === this.#journalBytes) return;
    if (size < this.#journalBytes) return this.#load();
    const tail = readJournalTail(
      this.files,
      this.#journalFd,
      this.#journalBytes,
      this.#frontier.size,
    );
    const odd = tail.damaged.length > 0 || tail.cutShort !== null ||
      tail.goodBytes !== tail.totalBytes || tail.entries[0]?.previous !== this.#last;
    if (odd) return this.#load();
    for (const { leaf, hash } of tail.entries) this.#advance(leaf, hash);
    this.#journalBytes = size;
    this.#journalBlocks += tail.entries.length;
  }

  #sameJournal(): boolean {
    try {
      return statAt(AT_FDCWD, this.files.journal).ino === fstat(this.#journalFd).ino;
    } catch (error) {
      if (isSysError(error, "ENOENT")) return false;
      throw error;
    }
  }

  /** Reads head and journal afresh and makes good what a crash left. Under the lock. */
  #load(): void {
    this.#closeJournal();
    this.files.ensureFolders();
    const journal = readJournal(this.files);
    const head = journal ? readHead(this.files) : this.#headWithoutJournal();
    this.#frontier = head.frontier.copy();
    this.#last = head.last;
    for (const entry of journal?.entries ?? []) {
      if (entry.number < head.frontier.size) continue;
      if (entry.previous !== this.#last) {
        throw new OpError(
          "chain_damaged",
          `Cannot append to the chain: block ${entry.number} of the journal does not follow`,
          { hint: "op-dbus chain verify shows every damaged block" },
        );
      }
      this.#advance(entry.leaf, entry.hash);
    }
    const notice = this.#options.onNotice ?? (() => {});
    if (!journal) {
      this.#freshJournal();
    } else if (this.#wantsRepair(journal)) {
      setAsideTail(this.files, journal, notice);
      restoreFromJournal(this.files, journal, notice);
      setAside(this.files, this.#frontier.size, notice);
      this.#turn();
    } else {
      this.#journalFd = open(this.files.journal, O_RDWR | O_NOFOLLOW);
      this.#journalBytes = journal.totalBytes;
      this.#journalBlocks = this.#foundBlocks = journal.entries.length;
    }
  }

  #headWithoutJournal() {
    if (readHead(this.files).frontier.size > 0 || this.files.readBlock(0)) {
      throw new OpError("chain_damaged", `Cannot append: ${this.files.journal} is gone`, {
        hint: "op-dbus chain recover rebuilds it from the blocks",
      });
    }
    return emptyHead();
  }

  #wantsRepair(journal: JournalContent): boolean {
    return journal.damaged.length > 0 || journal.cutShort !== null ||
      journal.goodBytes !== journal.totalBytes ||
      journal.place !== placeOf(this.files.folder) || lacksFiles(this.files, journal);
  }

  #advance(leaf: Uint8Array, hash: string): void {
    this.#frontier.append(leaf);
    this.#last = hash;
  }

  #commit(group: readonly Waiting[]): void {
    this.#sync();
    const time = (this.#options.now?.() ?? new Date()).toISOString();
    const frontier = this.#frontier.copy();
    let last = this.#last;
    const encode = (content: PreparedContent): EncodedBlock => {
      const block = encodeBlock(content, frontier.size, last, time);
      frontier.append(block.leaf);
      last = block.leaf.toHex();
      return block;
    };
    const begin = frontier.size === 0 ? [encode(this.#genesis())] : [];
    const blocks = group.map(({ content }) => encode(content));
    this.#write([...begin, ...blocks]);
    this.#frontier = frontier;
    this.#last = last;
    const appended = blocks.map(({ header, leaf }) => ({ header, hash: leaf.toHex() }));
    group.forEach(({ resolve }, at) => resolve(appended[at]!));
    this.#afterwards([
      ...begin.map(({ header, leaf }) => ({ header, hash: leaf.toHex() })),
      ...appended,
    ]);
  }

  #genesis(): PreparedContent {
    const { name } = hostKey(this.layout);
    return prepare({
      category: "chain",
      action: "begin",
      who: "op-dbus",
      what: name,
      data: {},
    });
  }

  /** Files, journal, fdatasync; on failure everything is as before. */
  #write(blocks: readonly EncodedBlock[]): void {
    const first = blocks[0]!.header.number;
    let made = 0;
    try {
      for (const { header, bytes } of blocks) {
        this.#createBlock(header.number, bytes);
        made++;
      }
      const lines = journalLines(blocks);
      pwriteUncached(this.#journalFd, lines, this.#journalBytes, this.files.support);
      fdatasync(this.#journalFd, this.files.journal);
      dropPages(this.#journalFd);
      this.#journalBytes += lines.length;
      this.#journalBlocks += blocks.length;
    } catch (error) {
      this.#undo(first, made);
      throw error;
    }
  }

  #createBlock(number: number, bytes: Uint8Array): void {
    try {
      this.files.createBlock(number, bytes);
    } catch (error) {
      if (!isSysError(error, "EEXIST")) throw error;
      // Written by a process that died before its journal line: never acknowledged.
      setAside(this.files, number, this.#options.onNotice ?? (() => {}));
      this.files.createBlock(number, bytes);
    }
  }

  #undo(first: number, count: number): void {
    const journalFd = this.#journalFd;
    if (journalFd !== -1) ftruncate(journalFd, this.#journalBytes);
    for (let number = first; number < first + count; number++) {
      try {
        unlinkAt(AT_FDCWD, this.files.blockPath(number));
      } catch (error) {
        if (!isSysError(error, "ENOENT")) throw error;
      }
    }
    this.#closeJournal(); // the next append reads everything afresh
  }

  /** What follows an acknowledgement: its failure cannot fail the append. */
  #afterwards(blocks: readonly Appended[]): void {
    const notice = this.#options.onNotice ?? (() => {});
    try {
      this.#options.onAppended?.(blocks);
      const full = this.#journalBytes >= JOURNAL_TURN_BYTES ||
        this.#journalBlocks >= JOURNAL_TURN_BLOCKS ||
        this.#foundBlocks >= JOURNAL_FOUND_BLOCKS;
      if (full) this.#turn();
    } catch (error) {
      notice(asOpError(error, "Cannot tidy up after an append").message);
      this.#closeJournal();
    }
  }

  /** Syncs the block files, writes head and checkpoint, starts a fresh journal. */
  #turn(): string {
    const { folder } = this.files;
    withFd(open(folder, O_RDONLY | O_DIRECTORY), (fd) => syncfs(fd, folder));
    const size = this.#frontier.size;
    if (!this.files.support.dontCacheWrite) this.#dropBlocks(size - this.#journalBlocks);
    const note = signCheckpoint(size, this.#frontier.root(), hostKey(this.layout));
    const text = new TextEncoder().encode(note);
    writeDurably(`${this.files.checkpoints}/${size}`, text);
    writeHead(this.files, { frontier: this.#frontier, last: this.#last, note });
    this.#freshJournal();
    return note;
  }

  #dropBlocks(from: number): void {
    for (let number = Math.max(0, from); number < this.#frontier.size; number++) {
      withFd(open(this.files.blockPath(number), O_RDONLY), (fd) => dropPages(fd));
    }
  }

  #freshJournal(): void {
    this.#closeJournal();
    const header = journalHeader(this.#frontier.size, placeOf(this.files.folder));
    writeDurably(this.files.journal, header);
    this.#journalFd = open(this.files.journal, O_RDWR | O_NOFOLLOW);
    this.#journalBytes = header.length;
    this.#journalBlocks = this.#foundBlocks = 0;
  }

  #closeJournal(): void {
    if (this.#journalFd !== -1) close(this.#journalFd);
    this.#journalFd = -1;
  }
}
