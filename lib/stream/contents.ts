/** The bytes of a few small files out of a stream that has been audited. */
import type { BaseTree } from "./base_tree.ts";
import type { FileContent } from "./content.ts";
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
  if (files.length > 0) {
    await parseSource(source, { limits }, (command) => {
      if (command.type !== "write" && command.type !== "encoded_write") return;
      for (const { bytes, pieces } of files) {
        for (const piece of pieces) {
          if (piece.source !== command.at) continue;
          const { at, inner, length } = piece;
          bytes.set(commandData(command).subarray(inner, inner + length), at);
        }
      }
    });
  }
  return new Map(files.map(({ path, bytes }) => [path, bytes]));
}
