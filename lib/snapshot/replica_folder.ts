/** A folder on this host as the receiving side: another btrfs, a mounted disk. */
import { deleteSubvolume, fileSystemInfo, openFolder } from "../../ffi/btrfs.ts";
import { listSubvolumes } from "../../ffi/btrfs_list.ts";
import { isSysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { asOpError, DifferenceError, InputError } from "../base/errors.ts";
import { fileSystemName, nearestExisting, onBtrfs } from "../base/root.ts";
import { isVisible, type Remote, type Replica, type Shipment } from "./replica.ts";

/**
 * @param folder absolute path; made where it is missing
 * @throws {InputError} `not_btrfs`
 */
export function folderReplica(folder: string): Replica {
  if (!onBtrfs(folder)) {
    throw new InputError(
      "not_btrfs",
      `Cannot send to ${folder}: it is on ${fileSystemName(folder)}, not btrfs`,
      { hint: `send to a file instead: --to ${folder}/NAME.btrfs.zst` },
    );
  }
  const list = () => listReplicas(folder);
  return {
    label: folder,
    takesCompressed: true,
    list: () => Promise.resolve(list()),
    receive: (chunks, what) => receiveInto(folder, chunks, what),
    async digest(name, signal) {
      const { digestOfFolder } = await import("../stream/disk_tree.ts");
      return await digestOfFolder(`${folder}/${name}`, { ...(signal && { signal }) });
    },
    remove(names) {
      try {
        withFd(openFolder(folder), (fd) => names.forEach((n) => deleteSubvolume(fd, n)));
        return Promise.resolve();
      } catch (error) {
        throw asOpError(error, `Cannot delete in ${folder}`);
      }
    },
  };
}

/**
 * True when a folder is yet to be made, and on the same file system as its source: then the
 * disk that it should be on is likely not mounted.
 */
export function wouldBeBeside(folder: string, source: string): boolean {
  const near = nearestExisting(folder);
  if (near === folder || !onBtrfs(near)) return false;
  const idOf = (path: string) =>
    withFd(openFolder(path), (fd) => fileSystemInfo(fd).fsid);
  return idOf(near) === idOf(nearestExisting(source));
}

/** The subvolumes of a folder as a receiving side knows them. A missing one is empty. */
export function listReplicas(folder: string): Remote[] {
  try {
    return withFd(openFolder(folder), listSubvolumes).map(({ name, info }) => ({
      name: new TextDecoder().decode(name),
      uuid: info.uuid,
      receivedUuid: info.receivedUuid,
      readOnly: info.readOnly,
    })).filter(({ name }) => isVisible(name));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw asOpError(error, `Cannot list ${folder}`);
  }
}

async function receiveInto(
  folder: string,
  chunks: AsyncIterable<Uint8Array>,
  { name, uuid, signal }: Shipment,
): Promise<Remote> {
  const { receiveSnapshot } = await import("./receive.ts");
  await receiveSnapshot(folder, { name, chunks, ...(signal && { signal }) });
  return proveReceived(listReplicas(folder), name, uuid, folder);
}

/**
 * What lies under a name after a receive, proved to be what was sent.
 *
 * @throws {DifferenceError} `not_received` when it is not
 */
export function proveReceived(
  remotes: readonly Remote[],
  name: string,
  uuid: string,
  where: string,
): Remote {
  const there = remotes.find((remote) => remote.name === name);
  if (there?.readOnly && there.receivedUuid === uuid) return there;
  const why = there ? "it is not marked as received from it" : "it is not there";
  throw new DifferenceError(
    "not_received",
    `Cannot confirm ${name} in ${where}: ${why}`,
    { hint: "look there, remove what is half-made, and send again" },
  );
}
