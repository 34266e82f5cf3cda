/** Deleting a snapshot that was looked at: by number, never by a name that may be swapped. */
import { deleteSubvolumeById, openFolder, subvolumeInfo } from "../../ffi/btrfs.ts";
import { isSysError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt, withFd } from "../../ffi/files.ts";
import { asOpError, InputError, OpError } from "../base/errors.ts";
import type { LockOptions } from "../base/lock.ts";
import { nearest } from "../base/nearest.ts";
import { lockTarget } from "./create.ts";
import { findFound, type Found, listFound } from "./found.ts";
import { removeHolds } from "./holds.ts";
import type { Target } from "./target.ts";

/**
 * One snapshot by name.
 *
 * @throws {InputError} `no_snapshot`, with the nearest one
 */
export function findSnapshot(target: Target, name: string): Found {
  const wanted = name.includes("@") ? name : `${target.prefix}@${name}`;
  const found = findFound(target, wanted);
  if (found) return found;
  const guess = nearest(wanted, listFound(target).map((one) => one.name));
  throw new InputError("no_snapshot", `Cannot find ${wanted} in ${target.folder}`, {
    hint: guess ? `did you mean ${guess}?` : "op-dbus snapshot list shows them",
  });
}

/**
 * Deletes a snapshot that a person named.
 *
 * @param options `force` also deletes one that is not recognised as op-dbus's
 * @throws {OpError} `held`; `not_ours` without force; `permission_denied` when not root;
 *   `in_use` while it is being sent
 */
export async function deleteSnapshot(
  target: Target,
  name: string,
  options: LockOptions & { readonly force?: boolean } = {},
): Promise<Found> {
  using _lock = await lockTarget(target, options);
  const found = findSnapshot(target, name);
  if (found.holds.length > 0) throw held(found);
  if (found.problem !== null && !options.force) throw notOurs(found);
  deleteFound(target.folder, found);
  return found;
}

/**
 * Deletes a received snapshot from a folder of replicas.
 *
 * @param force also one that was not received
 * @throws {InputError} `no_snapshot`; {OpError} `held`, `not_ours`
 */
export function deleteReceived(folder: string, name: string, force = false): Found {
  const found = listFound({ path: "", folder, prefix: null }, true)
    .find((one) => one.name === name);
  if (!found) {
    throw new InputError("no_snapshot", `Cannot find ${name} in ${folder}`, {
      hint: `list them with: op-dbus snapshot list --folder ${folder}`,
    });
  }
  if (found.holds.length > 0) throw held(found);
  if (found.problem !== null && !force) throw notOurs(found);
  deleteFound(folder, found);
  return found;
}

function notOurs(found: Found): OpError {
  return new OpError("not_ours", `Cannot delete ${found.name}: ${found.problem}`, {
    hint: "look at it, then delete it with --force if you are sure",
  });
}

/** The error of whoever would delete a held snapshot. */
export function held(found: Found): OpError {
  const tags = found.holds.map(({ tag }) => tag).join(", ");
  return new OpError("held", `Cannot delete ${found.name}: it is held (${tags})`, {
    hint: `op-dbus snapshot release ${found.name}`,
  });
}

/**
 * Deletes what was found, if it still is what was found. The caller holds the lock.
 *
 * @throws {OpError} `changed` when another subvolume has that name by now; `in_use` while
 *   it is being sent
 */
export function deleteFound(folder: string, found: Found): void {
  const doing = `Cannot delete ${found.path}`;
  try {
    withFd(openFolder(folder), (folderFd) => {
      const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
      const uuid = withFd(
        openAt(folderFd, found.name, flags),
        (fd) => subvolumeInfo(fd).uuid,
      );
      if (uuid !== found.info.uuid) {
        throw new OpError("changed", `${doing}: it was replaced meanwhile`, {
          hint: "run again",
        });
      }
      deleteSubvolumeById(folderFd, found.info.id);
    });
    removeHolds(folder, found.name, null);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return; // somebody else deleted it
    if (isSysError(error, "EPERM") && Deno.uid() === 0) {
      throw new OpError("in_use", `${doing}: it is being sent`, {
        cause: error,
        hint:
          "wait for the send to end; the default subvolume of a file system stays too",
      });
    }
    throw asOpError(error, doing);
  }
}
