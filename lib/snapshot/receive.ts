/** Receiving a snapshot of a host of ours into a folder of replicas. */
import { deleteSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { effectiveUid, withFd } from "../../ffi/files.ts";
import { DifferenceError, InputError, OpError } from "../base/errors.ts";
import { fileSystemName, makeFolders, onBtrfs } from "../base/root.ts";
import { HOST_LIMITS } from "../stream/limits.ts";
import { parentsInFolder } from "../stream/parents.ts";
import { HOST_POLICY } from "../stream/policy.ts";
import { receiveStream } from "../stream/receive.ts";
import { chunksSource, fileSource } from "../stream/source.ts";
import { type Found, listFound } from "./found.ts";

/** What to receive. */
export interface ReceiveSnapshotOptions {
  /** Its name there; default the stream's own. */
  readonly name?: string;
  /** The stream, from a file by absolute path or as it comes. */
  readonly file?: string;
  readonly chunks?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

/**
 * Receives one snapshot. A writable leftover of a stock `btrfs receive` that was cut off
 * under the same name is thrown away first.
 *
 * @param folder absolute path; made where it is missing
 * @throws {InputError} `not_btrfs`, StreamError for a damaged stream, OpError `exists`
 */
export async function receiveSnapshot(
  folder: string,
  options: ReceiveSnapshotOptions,
): Promise<Found> {
  if (!onBtrfs(folder)) {
    throw new InputError(
      "not_btrfs",
      `Cannot receive into ${folder}: it is on ${fileSystemName(folder)}, not btrfs`,
      { hint: "name a folder on btrfs; op-dbus init --loopback 2G makes one" },
    );
  }
  if (effectiveUid() !== 0) {
    // As somebody else it would become a folder, which is no snapshot.
    throw new OpError("permission_denied", `Cannot receive into ${folder}: not root`, {
      hint: "run as root; btrfs lets nobody else mark what was received",
    });
  }
  makeFolders(folder);
  if (options.name !== undefined) dropLeftover(folder, options.name);
  const source = options.file !== undefined
    ? fileSource(options.file)
    : chunksSource(options.chunks ?? nothing(), "standard input");
  const { path } = await receiveStream(source, {
    folder,
    ...(options.name !== undefined && { name: options.name }),
    policy: HOST_POLICY,
    limits: HOST_LIMITS,
    parent: parentsInFolder(folder),
    ...(options.signal && { signal: options.signal }),
  });
  const found = listReceived(folder).find((one) => one.path === path);
  if (found?.info.readOnly && found.info.receivedUuid !== null) return found;
  throw new DifferenceError("not_received", `Cannot confirm ${path} after receiving it`, {
    hint: "receiving needs root and btrfs; remove what is there and send again",
  });
}

async function* nothing(): AsyncGenerator<Uint8Array, void> {}

/** The snapshots of a folder of replicas. */
export function listReceived(folder: string): Found[] {
  return listFound({ path: "", folder, prefix: null }, true);
}

/**
 * Only what can be such a leftover: a name that op-dbus gives, writable, never received.
 * A subvolume of somebody's is not it, nor a copy that was made writable afterwards.
 */
function dropLeftover(folder: string, name: string): void {
  const left = listReceived(folder).find((one) => one.name === name);
  if (!left || left.timeMs === null || left.info.readOnly) return;
  if (left.info.receivedUuid !== null || left.info.rtransid !== 0n) return;
  withFd(openFolder(folder), (fd) => deleteSubvolume(fd, name));
}
