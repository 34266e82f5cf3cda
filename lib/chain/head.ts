/**
 * `head.json`: the chain as far as its block files are known to be on disk. Written at
 * every turn of the journal, with a signed checkpoint of the same size.
 */
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
import { NO_PREVIOUS } from "./block.ts";
import { canonicalJson } from "./canonical.ts";
import type { ChainFiles } from "./files.ts";
import { Frontier } from "./merkle.ts";

const HEAD_LIMIT_BYTES = 64 * 1024;

/** The head of a chain: enough to append to it. */
export interface Head {
  readonly frontier: Frontier;
  /** Hash (hex) of the last block; {@link NO_PREVIOUS} while there is none. */
  readonly last: string;
  /** Signed checkpoint of exactly this size; empty while there is none. */
  readonly note: string;
}

/** Head of a chain without blocks. */
export function emptyHead(): Head {
  return { frontier: new Frontier(), last: NO_PREVIOUS, note: "" };
}

/**
 * Reads the head; an empty one where there is no file.
 * @throws {OpError} `chain_damaged`
 */
export function readHead(files: ChainFiles): Head {
  let text: string;
  try {
    text = readTextFile(files.head, HEAD_LIMIT_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return emptyHead();
    throw error;
  }
  try {
    return parseHead(text);
  } catch (cause) {
    throw new OpError("chain_damaged", `Cannot read ${files.head}: it is damaged`, {
      cause,
      hint: "op-dbus chain recover rebuilds it from the blocks",
    });
  }
}

/** @throws {Error} on anything but what {@link writeHead} wrote, byte for byte */
function parseHead(text: string): Head {
  const { size, last, roots, note } = JSON.parse(text);
  const hashes = (roots as string[]).map((root) => Uint8Array.fromHex(root));
  const head = { frontier: Frontier.of(size, hashes), last, note };
  if (encodeHead(head) !== text || !/^[0-9a-f]{64}$/.test(last)) {
    throw new SyntaxError("not what was written");
  }
  return head;
}

function encodeHead({ frontier, last, note }: Head): string {
  const roots = frontier.roots.map((root) => root.toHex());
  return canonicalJson({ version: 1, size: frontier.size, last, roots, note }) + "\n";
}

/** Replaces the head durably. */
export function writeHead(files: ChainFiles, head: Head): void {
  writeDurably(files.head, new TextEncoder().encode(encodeHead(head)));
}
