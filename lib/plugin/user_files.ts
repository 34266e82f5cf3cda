/**
 * What of a live plugin is its user's: `state/` and the files that the manifest lists as
 * configuration. On a change of version they are carried over by a three-way merge: old as
 * shipped, new as shipped, mine. As dpkg does with conffiles: what only one side changed is
 * taken, what both changed stays mine, and the shipped one lies beside it as `.new`.
 */
import { isSysError } from "../../ffi/errno.ts";
import { close, renameAt, unlinkAt, withFd } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import {
  type DiskEntry,
  hashFile,
  readXattrs,
  type SkipEntry,
  walkDisk,
} from "../stream/disk_tree.ts";
import { readlinkAt } from "../../ffi/files.ts";
import {
  binaryBytes,
  binaryString,
  compareKeys,
  displayPath,
  nameKey,
} from "../stream/paths.ts";
import { copyEntry, makeParents, openParent, removeAt } from "./copy_tree.ts";
import { MARKER_FILE } from "./marker.ts";

/** The folder that is always the user's. */
const STATE = "state/";

/** What the merge did, for the user. */
export interface MergeReport {
  /** Mine, kept. */
  readonly kept: readonly string[];
  /** Both sides changed: mine stays, the shipped one is at `shipped`. */
  readonly conflicts: readonly { readonly path: string; readonly shipped: string }[];
  /** Changed here though not the user's: not carried over. */
  readonly abandoned: readonly string[];
}

/** Says whether a path (a key, paths.ts) is the user's. */
export type IsUsers = (path: string) => boolean;

/** The paths that some manifests together give to the user. */
export function usersPaths(config: readonly string[]): IsUsers {
  const rules = [STATE, ...config].map((rule) =>
    binaryString(new TextEncoder().encode(rule))
  );
  return (path) =>
    rules.some((rule) =>
      rule.endsWith("/")
        ? path.startsWith(rule) || path === rule.slice(0, -1)
        : path === rule || path.startsWith(`${rule}/`)
    );
}

/** What identifies an entry's content; equal texts are equal entries. */
type Fingerprints = Map<string, string>;

/**
 * Carries the user's files from the live tree into a new one.
 *
 * @param shippedFd the tree that the live one was made from; null where it is not known
 * @param liveFd the live tree
 * @param newFd the new version's writable tree, as shipped; is changed
 * @param isUsers which paths to carry
 */
export function mergeUserFiles(
  shippedFd: number | null,
  liveFd: number,
  newFd: number,
  isUsers: IsUsers,
): MergeReport {
  const unchanged = shippedFd === null ? null : sameInodes(shippedFd, liveFd);
  const shipped = shippedFd === null
    ? new Map()
    : fingerprints(shippedFd, (path) => isUsers(path) || !unchanged!.has(path));
  const live = fingerprints(liveFd, (path) => isUsers(path) || !unchanged?.has(path));
  const fresh = fingerprints(newFd, isUsers);
  const merge = new Merge(liveFd, newFd, shipped, live, fresh);
  const paths = [...new Set([...shipped.keys(), ...live.keys(), ...fresh.keys()])]
    .sort(compareKeys);
  const abandoned: string[] = [];
  for (const path of paths) {
    if (path === MARKER_FILE) continue;
    if (isUsers(path)) merge.decide(path);
    else if (shippedFd !== null && shipped.get(path) !== live.get(path)) {
      abandoned.push(displayPath(path));
    }
  }
  merge.apply();
  return { kept: merge.kept, conflicts: merge.conflicts, abandoned };
}

/**
 * Paths that a snapshot and its source share unchanged: same inode, size and times. Saves
 * reading both on btrfs; elsewhere nothing matches, and both are read.
 */
function sameInodes(aFd: number, bFd: number): Set<string> {
  const seen = new Map<string, string>();
  const key = ({ kind, stat }: DiskEntry) =>
    `${kind} ${stat.ino} ${stat.mode} ${stat.sizeBytes} ${stat.ctime.seconds} ` +
    `${stat.ctime.nanoseconds} ${stat.mtime.seconds} ${stat.mtime.nanoseconds}`;
  for (const entry of walkDisk(aFd)) seen.set(entry.path, key(entry));
  const same = new Set<string>();
  for (const entry of walkDisk(bFd)) {
    if (seen.get(entry.path) === key(entry)) same.add(entry.path);
  }
  return same;
}

/** Content of a tree by path, as texts that are equal where it is. */
export function fingerprints(
  rootFd: number,
  wanted: (path: string) => boolean,
): Fingerprints {
  const found: Fingerprints = new Map();
  // What is not wanted is not even opened; a folder is, for what is wanted in it.
  const skip: SkipEntry = (path, kind) => kind !== "folder" && !wanted(path);
  for (const entry of walkDisk(rootFd, "", skip)) {
    if (entry.path !== "" && wanted(entry.path)) {
      found.set(entry.path, fingerprint(entry));
    }
  }
  return found;
}

function fingerprint(entry: DiskEntry): string {
  const { kind, stat } = entry;
  if (kind === "symlink") {
    return `link ${binaryString(readlinkAt(entry.folderFd, entry.name))}`;
  }
  // A folder's mode is no reason for a conflict; what is in it speaks for itself.
  if (kind === "folder") return "folder";
  if (kind !== "file") return `${kind} ${stat.rdev}`;
  const xattrs = [...readXattrs(entry.fd, (name) => name.startsWith("user.")) ?? []];
  const texts = xattrs.map(([name, value]) => `${name}=${value.toHex()}`).sort();
  const { sha256 } = hashFile(entry.fd, stat.sizeBytes);
  return `file ${stat.mode & 0o7777} ${sha256.toHex()} ${texts.join(" ")}`;
}

/** Decides path by path, then changes the new tree. */
class Merge {
  readonly kept: string[] = [];
  readonly conflicts: { path: string; shipped: string }[] = [];
  readonly #take = new Set<string>();
  readonly #remove: string[] = [];
  readonly #aside: string[] = [];

  constructor(
    readonly liveFd: number,
    readonly newFd: number,
    readonly shipped: Fingerprints,
    readonly live: Fingerprints,
    readonly fresh: Fingerprints,
  ) {}

  decide(path: string): void {
    const old = this.shipped.get(path), mine = this.live.get(path);
    const next = this.fresh.get(path);
    if (mine === next || mine === old) return; // mine is not changed: as shipped now
    const conflict = next !== old && next !== undefined;
    if (conflict) this.#aside.push(path);
    if (mine === undefined) {
      if (!conflict) this.#remove.push(path);
      return;
    }
    this.#take.add(path);
    if (next !== undefined && !conflict) this.#remove.push(path);
    if (mine !== "folder" && !conflict) this.kept.push(displayPath(path));
  }

  apply(): void {
    for (const path of this.#aside) {
      const shipped = this.#setAside(path);
      if (shipped) {
        this.conflicts.push({ path: displayPath(path), shipped: displayPath(shipped) });
      }
    }
    // The innermost first: a folder that is removed may hold files that are, too.
    for (const path of this.#remove.reverse()) {
      this.#at(path, (fd, name) => {
        if (this.#take.has(path) || this.fresh.get(path) !== "folder") removeAt(fd, name);
        else this.#removeIfEmpty(fd, name);
      });
    }
    for (const entry of walkDisk(this.liveFd)) {
      if (!this.#take.has(entry.path)) continue;
      makeParents(this.newFd, entry.path);
      copyEntry(entry, this.newFd);
    }
  }

  /** Moves the shipped entry to a `.new` name that neither side uses. */
  #setAside(path: string): string | null {
    for (let i = 0;; i++) {
      const to = `${path}.new${i === 0 ? "" : `.${i}`}`;
      if (this.live.has(to) || this.fresh.has(to)) continue;
      const moved = this.#at(path, (fd, name) => {
        renameAt(fd, name, fd, binaryBytes(nameKey(to)));
        return true;
      });
      return moved ? to : null;
    }
  }

  #removeIfEmpty(fd: number, name: Uint8Array): void {
    try {
      unlinkAt(fd, name, 0x200); // AT_REMOVEDIR
    } catch (error) {
      if (!isSysError(error, "ENOTEMPTY", "EEXIST")) throw error;
    }
  }

  /** Runs on an entry of the new tree; null where it is not there (any more). */
  #at<T>(path: string, run: (fd: number, name: Uint8Array) => T): T | null {
    let parent: number;
    try {
      parent = openParent(this.newFd, path);
    } catch (error) {
      if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
      throw error;
    }
    try {
      const name = binaryBytes(nameKey(path));
      statAt(parent, name);
      return run(parent, name);
    } catch (error) {
      if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
      throw error;
    } finally {
      close(parent);
    }
  }
}

/** {@link mergeUserFiles} of folders by path. */
export function mergeUserFolders(
  shipped: string | null,
  live: string,
  next: string,
  isUsers: IsUsers,
  open: (path: string) => number,
): MergeReport {
  const run = (shippedFd: number | null) =>
    withFd(
      open(live),
      (liveFd) =>
        withFd(open(next), (newFd) => mergeUserFiles(shippedFd, liveFd, newFd, isUsers)),
    );
  return shipped === null ? run(null) : withFd(open(shipped), run);
}
