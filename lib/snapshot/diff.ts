/**
 * What changed between two snapshots, from the metadata of a send stream: no file is read,
 * so it costs what the change costs, not what the snapshots hold.
 */
import { HOST_LIMITS } from "../stream/limits.ts";
import { parseSource } from "../stream/run.ts";
import { sendChunks } from "../stream/send.ts";
import { chunksSource } from "../stream/source.ts";
import { type Change, ChangeTree } from "./change_tree.ts";
import type { Found } from "./found.ts";

export type { Change };

/** Changes from one snapshot to another. */
export interface Diff {
  readonly from: string;
  readonly to: string;
  readonly changes: readonly Change[];
  /** There were more than are kept (a million). */
  readonly cut: boolean;
}

/**
 * Lists what changed from `a` to `b`, sorted by path. Root only.
 *
 * @throws {OpError} `no_parent` when they are no relatives; `permission_denied`
 */
export async function diffSnapshots(
  a: Found,
  b: Found,
  signal?: AbortSignal,
): Promise<Diff> {
  const names = { from: a.name, to: b.name };
  if (a.info.uuid === b.info.uuid) return { ...names, changes: [], cut: false };
  const tree = new ChangeTree(), aborting = signal && { signal };
  const options = { parent: a.path, withoutData: true, ...aborting };
  const source = chunksSource(sendChunks(b.path, options), b.name);
  await parseSource(
    source,
    { limits: HOST_LIMITS, ...aborting },
    (command) => tree.take(command),
  );
  return { ...names, changes: tree.changes(), cut: tree.cut };
}

/**
 * Bytes that a send will have, before it is made: its metadata and the lengths of what it
 * will carry. What is compressed or cloned makes it less.
 *
 * @param parent path of the snapshot that it is a difference to
 */
export async function estimateSend(
  path: string,
  parent: string | null,
  signal?: AbortSignal,
): Promise<number> {
  const aborting = signal && { signal };
  const options = { ...(parent !== null && { parent }), withoutData: true, ...aborting };
  let dataBytes = 0;
  const { streamBytes } = await parseSource(
    chunksSource(sendChunks(path, options), path),
    { limits: HOST_LIMITS, ...aborting },
    (command) => {
      if (command.type === "update_extent") dataBytes += command.length;
    },
  );
  return streamBytes + dataBytes;
}
