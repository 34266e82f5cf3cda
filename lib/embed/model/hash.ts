/** SHA-256 of files of any size, piece by piece. */
import { createHash } from "node:crypto";
import type { ModelFileRecord } from "./record.ts";

const PIECE_BYTES = 1024 * 1024;

/** Size and digest of a file. */
export async function hashFile(
  path: string,
  signal?: AbortSignal,
): Promise<Omit<ModelFileRecord, "path">> {
  using file = await Deno.open(path);
  const hash = createHash("sha256");
  const piece = new Uint8Array(PIECE_BYTES);
  let size_bytes = 0;
  for (;;) {
    signal?.throwIfAborted();
    const count = await file.read(piece);
    if (count === null) return { size_bytes, sha256: hash.digest("hex") };
    hash.update(piece.subarray(0, count));
    size_bytes += count;
  }
}
