/** The bytes of a few small files out of a stream that has been audited. */
import type { BaseTree } from "./base_tree.ts";
import type { FileContent } from "./content.ts";
import type { Extent } from "./extents.ts";
import type { StreamLimits } from "./limits.ts";
import { commandData } from "./resolve.ts";
import { parseSource } from "./run.ts";
import type { ByteSource } from "./source.ts";

/** A file wanted, with its content as audited. */
export interface WantedFile {
  readonly path: string;
  readonly content: FileContent;
}

/**
 * Reads files' bytes in one more pass over the stream.
 *
 * @param wanted small files: each is held in memory
 * @returns bytes by path
 */
export async function readContents(
  wanted: readonly WantedFile[],
  source: ByteSource,
  base: BaseTree | null,
  limits: StreamLimits,
): Promise<Map<string, Uint8Array>> {
  const files = wanted.map(({ path, content }) => ({
    path,
    bytes: new Uint8Array(content.size),
    pieces: content.extents.slice(0, content.size),
  }));
  for (const { bytes, pieces } of files) {
    for (const { at, length, source: from, inner } of pieces) {
      if (from < 0) base!.readFile(-1 - from, bytes.subarray(at, at + length), inner);
    }
  }
  // By the command that carries them: a small file can consist of a million pieces, and
  // going through all of them at each of a million commands would take hours.
  const wantedAt = new Map<number, { bytes: Uint8Array; piece: Extent }[]>();
  for (const { bytes, pieces } of files) {
    for (const piece of pieces) {
      const list = wantedAt.get(piece.source);
      if (list) list.push({ bytes, piece });
      else if (piece.source >= 0) wantedAt.set(piece.source, [{ bytes, piece }]);
    }
  }
  if (wantedAt.size > 0) {
    await parseSource(source, { limits }, (command) => {
      if (command.type !== "write" && command.type !== "encoded_write") return;
      const list = wantedAt.get(command.at);
      if (!list) return;
      const data = commandData(command);
      for (const { bytes, piece: { at, inner, length } } of list) {
        bytes.set(data.subarray(inner, inner + length), at);
      }
    });
  }
  return new Map(files.map(({ path, bytes }) => [path, bytes]));
}
