/**
 * Hashes of contents that did not come in order (clones, edits of a base tree, writes out
 * of order): the stream is read again, as often as needed, and each content takes what
 * it needs as it goes by. No content is ever held.
 */
import { createHash, type Hash } from "node:crypto";
import type { BaseTree } from "./base_tree.ts";
import type { EncodedWriteCommand, WriteCommand } from "./command.ts";
import { type FileContent, hashZeros } from "./content.ts";
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";
import { parseSource } from "./run.ts";
import type { ByteSource } from "./source.ts";
import type { VirtualTree } from "./tree.ts";
import { decodeEncoded } from "./zstd.ts";

/** More passes than any honest stream needs; a clone of a clone in reverse needs many. */
const MAX_PASSES = 64;
const CHUNK_BYTES = 1024 * 1024;

/** One content that is being hashed from front to back. */
class Pending {
  readonly content: FileContent;
  readonly #hash: Hash = createHash("sha256");
  #index = 0;
  #at = 0;

  constructor(content: FileContent) {
    this.content = content;
  }

  /** Stream offset of the command whose data come next; -1 when all is hashed. */
  next(base: BaseTree | null): number {
    const { extents, size } = this.content;
    while (this.#index < extents.count) {
      const extent = extents.get(this.#index);
      hashZeros(this.#hash, extent.at - this.#at);
      this.#at = extent.at;
      if (extent.source >= 0) return extent.source;
      this.#fromBase(base!, -1 - extent.source, extent.inner, extent.length);
      this.#index++;
    }
    hashZeros(this.#hash, size - this.#at);
    this.content.resolve(this.#hash.digest());
    return -1;
  }

  #fromBase(base: BaseTree, file: number, inner: number, length: number): void {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, length));
    for (let done = 0; done < length;) {
      const piece = chunk.subarray(0, Math.min(chunk.length, length - done));
      const n = base.readFile(file, piece, inner + done);
      if (n === 0) throw new StreamError("stream_corrupt", "its base has changed", 0);
      this.#hash.update(piece.subarray(0, n));
      done += n;
    }
    this.#at += length;
  }

  /** Takes its part of a command's data; to be called when {@link next} named it. */
  take(data: Uint8Array): void {
    const { inner, length } = this.content.extents.get(this.#index++);
    this.#hash.update(data.subarray(inner, inner + length));
    this.#at += length;
  }
}

/**
 * Finds the hashes that an audit could not.
 *
 * @param tree the audited tree; its contents are resolved in place
 * @param source the stream that was audited, replayable
 * @param base the tree that an incremental stream builds on
 * @throws {StreamError} when the source changed, or is too tangled
 */
export async function resolveContents(
  tree: VirtualTree,
  source: ByteSource,
  base: BaseTree | null,
  limits: StreamLimits,
  signal?: AbortSignal,
): Promise<void> {
  let waiting = new Map<number, Pending[]>();
  const enqueue = (into: Map<number, Pending[]>, pending: Pending, at: number) => {
    const list = into.get(at);
    if (list) list.push(pending);
    else into.set(at, [pending]);
  };
  for (const content of unresolved(tree)) {
    const pending = new Pending(content), at = pending.next(base);
    if (at >= 0) enqueue(waiting, pending, at);
  }
  for (let pass = 0; waiting.size > 0; pass++) {
    if (pass === MAX_PASSES) {
      throw new StreamError("stream_limit", "its clones are too tangled to hash", 0);
    }
    const later = new Map<number, Pending[]>();
    await parseSource(source, { limits, ...(signal && { signal }) }, (command) => {
      if (command.type !== "write" && command.type !== "encoded_write") return;
      const list = waiting.get(command.at);
      if (!list) return;
      waiting.delete(command.at);
      const data = commandData(command);
      for (const pending of list) {
        let at = command.at;
        while (at === command.at) {
          pending.take(data);
          at = pending.next(base);
        }
        if (at >= 0) enqueue(at > command.at ? waiting : later, pending, at);
      }
    });
    if (waiting.size > 0) {
      throw new StreamError("stream_corrupt", "it changed while it was read", 0);
    }
    waiting = later;
  }
}

function unresolved(tree: VirtualTree): Set<FileContent> {
  const found = new Set<FileContent>();
  for (const { node } of tree.walk()) {
    if (node.content && node.content.sha256() === null) found.add(node.content);
  }
  return found;
}

/** The decoded data of a write, whole extents for encoded ones. */
export function commandData(command: WriteCommand | EncodedWriteCommand): Uint8Array {
  if (command.type === "write") return command.data;
  return decodeEncoded(command);
}
