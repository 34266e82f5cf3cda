/**
 * Rebuilding head and journal from the blocks themselves, when those two files are gone
 * or damaged (a restored snapshot that was cut, a disk that lost a sector).
 */
import { isSysError } from "../../ffi/errno.ts";
import { rename } from "../../ffi/files.ts";
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { NO_PREVIOUS, parseBlock } from "./block.ts";
import { lockChain } from "./chain_lock.ts";
import { openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { ChainFiles, placeOf } from "./files.ts";
import { writeHead } from "./head.ts";
import { hostKey, type VerifierKey } from "./host_key.ts";
import { journalHeader } from "./journal.ts";
import { Frontier, sameHash } from "./merkle.ts";
import { pause } from "./reader.ts";
import { setAside } from "./recovery.ts";

const BLOCKS_PER_TURN = 512;

/** What was rebuilt. */
export interface Recovery {
  readonly blocks: number;
  /** What was set aside, one line each. */
  readonly notices: readonly string[];
}

/**
 * Rebuilds head and journal. The blocks must follow one another from block 0 on, and
 * hold every checkpoint that this host signed and kept.
 *
 * @throws {OpError} `chain_damaged` when a block is damaged or a checkpoint is not met:
 *   then nothing was changed
 */
export async function recoverChain(
  layout: Layout,
  signal?: AbortSignal,
): Promise<Recovery> {
  using _lock = await lockChain(layout);
  using files = new ChainFiles(layout.timing);
  files.ensureFolders();
  const key = hostKey(layout);
  const expected = storedCheckpoints(files, key);
  const frontier = new Frontier();
  let last = NO_PREVIOUS;
  for (let number = 0;; number++) {
    if (number % BLOCKS_PER_TURN === 0) await pause(signal);
    const bytes = files.readBlock(number);
    if (!bytes) break;
    const { header, leaf } = parseBlock(bytes);
    if (header.number !== number || header.previous !== last) {
      throw damaged(`block ${number} does not follow the block before it`);
    }
    frontier.append(leaf);
    last = leaf.toHex();
    const root = expected.get(number + 1);
    if (root && !sameHash(root, frontier.root())) {
      throw damaged(`the first ${number + 1} blocks do not match their checkpoint`);
    }
  }
  const most = Math.max(0, ...expected.keys());
  if (most > frontier.size) {
    throw damaged(`a checkpoint has ${most} blocks, and only ${frontier.size} are whole`);
  }
  const notices: string[] = [];
  setAside(files, frontier.size, (notice) => notices.push(notice));
  keepDamaged(files, notices);
  if (frontier.size > 0) {
    const note = signCheckpoint(frontier.size, frontier.root(), key);
    writeHead(files, { frontier, last, note });
  }
  writeDurably(files.journal, journalHeader(frontier.size, placeOf(files.folder)));
  return { blocks: frontier.size, notices };
}

/** Sizes and roots of the checkpoints under `checkpoints/` that this host signed. */
function storedCheckpoints(files: ChainFiles, key: VerifierKey): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (const { name, checkpoint } of readCheckpoints(files, key)) {
    if (checkpoint instanceof OpError) {
      throw damaged(`checkpoint ${name} is unsound: ${checkpoint.message}`);
    }
    found.set(checkpoint.size, checkpoint.root);
  }
  return found;
}

/** Every checkpoint under `checkpoints/`, opened with a key, or why not. */
export function readCheckpoints(files: ChainFiles, key: VerifierKey) {
  const decoder = new TextDecoder();
  let entries: ReturnType<typeof listFolder> = [];
  try {
    entries = listFolder(files.checkpoints);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
  return entries.map((entry) => decoder.decode(entry.name))
    .filter((name) => /^\d{1,15}$/.test(name))
    .map((name) => {
      try {
        const text = readTextFile(`${files.checkpoints}/${name}`);
        return { name, checkpoint: openCheckpoint(text, key) };
      } catch (error) {
        if (!(error instanceof OpError)) throw error;
        return { name, checkpoint: error };
      }
    });
}

/** The journal and head of before are kept for a look. */
function keepDamaged(files: ChainFiles, notices: string[]): void {
  for (const [path, name] of [[files.journal, "journal"], [files.head, "head.json"]]) {
    const to = `${files.torn}/${name}-${crypto.randomUUID().slice(0, 8)}`;
    try {
      rename(path!, to);
      notices.push(`${name} was set aside as ${to}`);
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
    }
  }
}

function damaged(why: string): OpError {
  return new OpError("chain_damaged", `Cannot rebuild the chain: ${why}`, {
    hint: "restore @timing from a snapshot",
  });
}
