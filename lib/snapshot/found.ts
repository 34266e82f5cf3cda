/** What lies in a snapshot folder, and which of it is op-dbus's to delete. */
import { openFolder, type SubvolumeInfo, subvolumeInfoAt } from "../../ffi/btrfs.ts";
import {
  findSubvolume,
  type ListedSubvolume,
  listSubvolumes,
} from "../../ffi/btrfs_list.ts";
import { isSysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { asOpError } from "../base/errors.ts";
import { type Hold, readHolds } from "./holds.ts";
import { readLineage } from "./lineage.ts";
import { olderFirst, snapshotTime } from "./name.ts";
import type { Target } from "./target.ts";

/** One subvolume of a snapshot folder. */
export interface Found {
  readonly name: string;
  readonly path: string;
  /** The time in its name; null where the name cannot be read. */
  readonly timeMs: number | null;
  readonly info: SubvolumeInfo;
  readonly holds: readonly Hold[];
  /** Why it is not recognised as op-dbus's; null when it is. Never deleted with one. */
  readonly problem: string | null;
}

/** What {@link listFound} looks at. */
export interface Listed extends Pick<Target, "path" | "folder"> {
  /** Null takes whatever each name begins with: for a folder of received snapshots. */
  readonly prefix: string | null;
}

/** `lxc@v1.2.0`: a plugin's version, which belongs to lib/plugin. */
const VERSION = /@v\d/;

/**
 * The snapshots of a target, oldest first; those with unreadable names last. A missing
 * folder is empty.
 *
 * @param received recognises received snapshots instead of local ones: for the folder on
 *   the receiving side
 * @throws {OpError} when the folder or its holds cannot be read
 */
export function listFound(target: Listed, received = false): Found[] {
  const recognise = recogniser(target, received), found: Found[] = [];
  for (const { name, info } of subvolumesIn(target.folder)) {
    const one = recognise(new TextDecoder().decode(name), info);
    if (one !== null) found.push(one);
  }
  return found.sort(olderFirst);
}

/**
 * One snapshot of a target by its whole name, as {@link listFound} would give it; the
 * others are not looked at.
 */
export function findFound(target: Listed, name: string): Found | null {
  if (name === "" || name.includes("/") || name.includes("\0")) return null;
  const info = inFolder(
    target.folder,
    (fd) => findSubvolume(fd, new TextEncoder().encode(name)),
  );
  return info && recogniser(target, false)(name, info);
}

/** Says what a subvolume of the folder is; null for what is no snapshot of the target. */
function recogniser(target: Listed, received: boolean) {
  const lineage = readLineage(target.folder), holds = readHolds(target.folder);
  const uuids = new Set(lineage.uuids);
  const live = received ? null : liveUuid(target.path);
  if (live !== null) uuids.add(live);
  return (name: string, info: SubvolumeInfo): Found | null => {
    if (VERSION.test(name) || name.startsWith(".")) return null;
    if (target.folder.endsWith("/@plugin-snapshots") && !belongs(target, name)) {
      return null;
    }
    const prefix = target.prefix ?? name.slice(0, Math.max(0, name.indexOf("@")));
    const timeMs = snapshotTime(prefix, name);
    return {
      name,
      path: `${target.folder}/${name}`,
      timeMs,
      info,
      holds: holds.get(name) ?? [],
      problem: problemOf(timeMs, info, received, uuids, lineage.problem),
    };
  };
}

function belongs(target: Listed, name: string): boolean {
  return name.startsWith(`${target.prefix}@`);
}

function problemOf(
  timeMs: number | null,
  info: SubvolumeInfo,
  received: boolean,
  uuids: ReadonlySet<string>,
  lineageProblem: string | null,
): string | null {
  if (timeMs === null) return "its name is not one that op-dbus gives";
  if (!info.readOnly) return "it is writable, so its content may have changed";
  if (received) return info.receivedUuid === null ? "it was not received" : null;
  if (info.parentUuid !== null && uuids.has(info.parentUuid)) return null;
  const why = lineageProblem ? ` (${lineageProblem})` : "";
  return `it is no snapshot of this target${why}`;
}

function subvolumesIn(folder: string): ListedSubvolume[] {
  return inFolder(folder, listSubvolumes) ?? [];
}

/** Null where the folder is missing. */
function inFolder<T>(folder: string, look: (fd: number) => T): T | null {
  try {
    return withFd(openFolder(folder), look);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw asOpError(error, `Cannot list the snapshots in ${folder}`);
  }
}

function liveUuid(path: string): string | null {
  try {
    return subvolumeInfoAt(path).uuid;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTTY", "ENOTDIR")) return null;
    throw asOpError(error, `Cannot look at ${path}`);
  }
}
