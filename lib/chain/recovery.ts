/** Making good what a crash left. All of it under the chain's lock. */
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fdatasync,
  fsyncFolder,
  ftruncate,
  O_NOFOLLOW,
  O_RDWR,
  open,
  pread,
  rename,
  RENAME_NOREPLACE,
} from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
import { withoutData } from "./block.ts";
import type { ChainFiles } from "./files.ts";
import type { JournalContent } from "./journal.ts";

/** A crash leaves at most one group of blocks; more are somebody's doing. */
const LEFT_BLOCKS_LIMIT = 1024;

type Notice = (notice: string) => void;

/** A free name in `torn/` for what was set aside. */
function tornPath(files: ChainFiles, name: string): string {
  return `${files.torn}/${name}-${crypto.randomUUID().slice(0, 8)}`;
}

/**
 * Moves away block files from `size` on: their process died before the journal had them,
 * so nobody was told that they are safe.
 */
export function setAside(files: ChainFiles, size: number, notice: Notice): void {
  let end = size;
  while (exists(files.blockPath(end))) {
    if (end++ - size < LEFT_BLOCKS_LIMIT) continue;
    // Before any is moved: recover wants them where they are.
    throw new OpError("chain_damaged", `Cannot append: blocks from ${size} are unknown`, {
      hint: "op-dbus chain recover rebuilds the head from the blocks",
    });
  }
  for (let number = size; number < end; number++) {
    const to = tornPath(files, `${number}.json`);
    rename(files.blockPath(number), to, RENAME_NOREPLACE);
    notice(
      `block ${number} was cut short before it was acknowledged: set aside as ${to}`,
    );
  }
  fsyncFolder(files.torn);
  fsyncFolder(files.blocks);
}

/** Cuts off a half-written end of the journal, keeping a copy. */
export function setAsideTail(
  files: ChainFiles,
  journal: JournalContent,
  notice: Notice,
): void {
  const length = journal.totalBytes - journal.goodBytes;
  if (length <= 0) return;
  const fd = open(files.journal, O_RDWR | O_NOFOLLOW);
  try {
    const tail = new Uint8Array(length);
    const to = tornPath(files, "journal");
    writeDurably(to, tail.subarray(0, pread(fd, tail, journal.goodBytes)));
    ftruncate(fd, journal.goodBytes);
    fdatasync(fd, files.journal);
    notice(`the journal's last ${length} bytes were cut short: set aside as ${to}`);
  } finally {
    close(fd);
  }
}

/**
 * True when a block of the journal has no file of its length. A copy of the disk may be
 * mounted under the device number of the disk itself: the journal's place tells nothing.
 */
export function lacksFiles(files: ChainFiles, journal: JournalContent): boolean {
  return journal.entries.some(({ number, bytes }) => {
    const size = sizeOf(files.blockPath(number));
    return size !== bytes.length && size !== withoutData(bytes).length;
  });
}

/**
 * Writes block files again that the journal has and the disk has not, as after a power
 * cut. A file with other bytes is set aside, never overwritten.
 */
export function restoreFromJournal(
  files: ChainFiles,
  journal: JournalContent,
  notice: Notice,
): void {
  for (const { number, bytes } of journal.entries) {
    const found = files.readBlock(number);
    if (found && (same(found, bytes) || same(found, withoutData(bytes)))) continue;
    if (found) {
      const to = tornPath(files, `${number}.json`);
      rename(files.blockPath(number), to, RENAME_NOREPLACE);
      notice(`block ${number} was damaged: set aside as ${to}`);
    }
    files.createBlock(number, bytes);
    notice(`block ${number} was restored from the journal`);
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function exists(path: string): boolean {
  return sizeOf(path) !== null;
}

/** Null where there is no such file. */
function sizeOf(path: string): number | null {
  try {
    return statAt(AT_FDCWD, path).sizeBytes;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}
