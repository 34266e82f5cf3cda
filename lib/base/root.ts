/**
 * The root folder: laying it out, and telling what state it is in. Nothing here deletes
 * anything; a folder that holds something else is refused as it is.
 */
import { createSubvolume, isBtrfs, isSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { listFd, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  fsync,
  fsyncFolder,
  mkdirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  openAt,
  withFd,
} from "../../ffi/files.ts";
import { BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, statfs } from "../../ffi/stat.ts";
import { TMPFS_MAGIC, XFS_SUPER_MAGIC } from "../../ffi/stat.ts";
import { fgetxattr, fsetxattr } from "../../ffi/xattr.ts";
import { writeDurably } from "./durable.ts";
import { asOpError, InputError, OpError } from "./errors.ts";
import { Layout } from "./layout.ts";

/** Whether the root's areas are subvolumes, or folders on any file system. */
export type RootKind = "btrfs" | "plain";

/** What the marker file `meta/root.json` says. */
interface Marker {
  readonly format: number;
  readonly kind: RootKind;
}

/** The layout's format; a root of a newer one is refused. */
const FORMAT = 1;
const FOLDER_MODE = 0o755;

/** Areas that are subvolumes, with the folders inside. None nests in another. */
const AREAS: Readonly<Record<string, readonly string[]>> = {
  "@cache": [
    "embeddings",
    "embeddings/vectors",
    "queries",
    "blocks",
    "blocks/by-number",
    "blocks/by-hash",
    "diffs",
  ],
  "@timing": ["blocks"],
  "@vectors": [],
  "@state": [],
};
const FOLDERS = ["@cache-snapshots", "@plugin-snapshots", "models", "meta"];

/** What may lie in a root beside {@link AREAS} and {@link FOLDERS}. */
const KNOWN =
  /^(@(plugin|previous)-.+|@[a-z0-9._-]+-snapshots|lost\+found|\.(tmp|new|gone)-.+|repos|keys)$/;

/** How to lay out a root. */
export interface InitOptions {
  /** Absolute path; made where it is missing. */
  readonly root: string;
  /** Folders instead of subvolumes; works on every file system, without snapshots. */
  readonly plain?: boolean;
}

/** What {@link initRoot} did. */
export interface InitResult {
  readonly root: string;
  readonly kind: RootKind;
  /** What was made, relative to the root. Empty: it was finished already. */
  readonly created: readonly string[];
  readonly changed: boolean;
  /** What is worth knowing although it worked, one line each. */
  readonly notes: readonly string[];
}

/**
 * Lays out a root. On a finished root it changes nothing; an interrupted one is finished.
 *
 * @throws {OpError} `not_btrfs` on another file system without `plain`; `foreign_root`
 *   when the folder holds something else; `not_a_subvolume` where an area is a folder
 */
export function initRoot(options: InitOptions): InitResult {
  const layout = new Layout(options.root), marker = readMarker(layout);
  const kind = marker?.kind ?? (options.plain ? "plain" : "btrfs");
  if (kind === "btrfs") requireBtrfs(options.root);
  if (!marker) refuseForeign(options.root);
  const created: string[] = [], notes: string[] = [];
  try {
    if (makeFolders(options.root)) created.push(".");
    withFd(open(options.root, O_RDONLY | O_DIRECTORY), (rootFd) => {
      for (const [area, folders] of Object.entries(AREAS)) {
        if (makeArea(rootFd, area, kind)) created.push(area);
        withFd(openAt(rootFd, area, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
          if (area === "@cache" && kind === "btrfs") notes.push(...compress(fd));
          for (const folder of folders) {
            if (makeFolder(fd, folder)) created.push(`${area}/${folder}`);
          }
          fsync(fd, area);
        });
      }
      for (const folder of FOLDERS) {
        if (makeFolder(rootFd, folder)) created.push(folder);
      }
      fsync(rootFd, options.root);
    });
    if (!marker) {
      const text = JSON.stringify({ format: FORMAT, kind } satisfies Marker) + "\n";
      writeDurably(`${layout.meta}/root.json`, new TextEncoder().encode(text));
      created.push("meta/root.json");
    }
  } catch (error) {
    throw asOpError(error, `Cannot initialise ${options.root}`);
  }
  return { root: options.root, kind, created, changed: created.length > 0, notes };
}

/**
 * The kind of an initialised root.
 *
 * @throws {OpError} `no_root` where there is none, with the way to make one
 */
export function requireRoot(root: string): RootKind {
  const marker = readMarker(new Layout(root));
  if (marker) return marker.kind;
  throw new OpError("no_root", `Cannot use ${root}: it is not an op-dbus root`, {
    hint: `make it with: op-dbus init --root ${root}`,
  });
}

/** The kind of a root; null where there is none yet. */
export function rootKind(root: string): RootKind | null {
  return readMarker(new Layout(root))?.kind ?? null;
}

function readMarker(layout: Layout): Marker | null {
  const path = `${layout.meta}/root.json`;
  let text: string;
  try {
    text = readTextFile(path, 4096);
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    throw asOpError(error, `Cannot read ${path}`);
  }
  const marker = parseMarker(text);
  if (!marker) {
    throw new OpError("damaged_root", `Cannot use ${layout.root}: ${path} is damaged`, {
      hint: `move ${path} away and run op-dbus init again; it deletes nothing`,
    });
  }
  if (marker.format > FORMAT) {
    throw new OpError(
      "newer_root",
      `Cannot use ${layout.root}: its format is ${marker.format}, this op-dbus knows ${FORMAT}`,
      { hint: "use the newer op-dbus that made it" },
    );
  }
  return marker;
}

function parseMarker(text: string): Marker | null {
  try {
    const read = JSON.parse(text) as Partial<Marker> | null;
    const kind = read?.kind;
    if (typeof read?.format !== "number") return null;
    return kind === "btrfs" || kind === "plain" ? { format: read.format, kind } : null;
  } catch {
    return null;
  }
}

/** The nearest folder above (or at) a path that exists. */
export function nearestExisting(path: string): string {
  for (let at = path;; at = at.slice(0, at.lastIndexOf("/")) || "/") {
    try {
      statfs(at);
      return at;
    } catch (error) {
      if (!isSysError(error, "ENOENT") || at === "/") throw asOpError(error);
    }
  }
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  [BTRFS_SUPER_MAGIC]: "btrfs",
  [EXT4_SUPER_MAGIC]: "ext4",
  [TMPFS_MAGIC]: "tmpfs",
  [XFS_SUPER_MAGIC]: "xfs",
  0x794c7630: "overlayfs",
};

/** Name of the file system that a path, or the nearest folder above it, is on. */
export function fileSystemName(path: string): string {
  const { magic } = statfs(nearestExisting(path));
  return FILE_SYSTEMS[magic] ?? `file system 0x${magic.toString(16)}`;
}

function requireBtrfs(root: string): void {
  const name = fileSystemName(root);
  if (name === "btrfs") return;
  throw new OpError(
    "not_btrfs",
    `Cannot initialise ${root}: it is on ${name}, not btrfs`,
    {
      hint:
        "make a btrfs image with: op-dbus init --loopback 2G; or do without snapshots: " +
        "op-dbus init --plain",
    },
  );
}

function refuseForeign(root: string): void {
  const foreign = foreignEntries(root);
  if (foreign.length === 0) return;
  const shown = foreign.slice(0, 3).join(", ");
  const more = foreign.length > 3 ? ` and ${foreign.length - 3} more` : "";
  throw new InputError(
    "foreign_root",
    `Cannot initialise ${root}: it holds files that are not op-dbus's: ${shown}${more}`,
    { hint: "choose an empty folder with --root; nothing was changed" },
  );
}

function foreignEntries(root: string): string[] {
  let names: string[];
  try {
    names = withFd(open(root, O_RDONLY | O_DIRECTORY), (fd) => listFd(fd, root))
      .map(({ name }) => new TextDecoder().decode(name));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw asOpError(error, `Cannot initialise ${root}`);
  }
  return names.filter((name) =>
    !Object.hasOwn(AREAS, name) && !FOLDERS.includes(name) && !KNOWN.test(name)
  ).sort();
}

/** mkdir -p. True when the last folder was made here. */
export function makeFolders(path: string): boolean {
  const exists = nearestExisting(path);
  if (exists === path) return false;
  const above = path.slice(0, path.lastIndexOf("/")) || "/";
  makeFolders(above);
  const made = withFd(
    open(above, O_RDONLY | O_DIRECTORY),
    (fd) => makeFolder(fd, path.slice(path.lastIndexOf("/") + 1)),
  );
  fsyncFolder(above);
  return made;
}

function makeFolder(dirFd: number, path: string): boolean {
  try {
    mkdirAt(dirFd, path, FOLDER_MODE);
    return true;
  } catch (error) {
    if (!isSysError(error, "EEXIST")) throw error;
  }
  // It must be a folder, not a link or a file that somebody put there.
  withFd(openAt(dirFd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), () => {});
  return false;
}

function makeArea(rootFd: number, name: string, kind: RootKind): boolean {
  if (kind === "plain") return makeFolder(rootFd, name);
  try {
    createSubvolume(rootFd, name);
    return true;
  } catch (error) {
    if (!isSysError(error, "EEXIST")) throw error;
  }
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  if (withFd(openAt(rootFd, name, flags), isSubvolume)) return false;
  throw new OpError("not_a_subvolume", `Cannot use ${name}: a folder, not a subvolume`, {
    hint:
      `move it away (mv ${name} ${name}.old), run op-dbus init, and copy its files in`,
  });
}

/** Sets zstd on the cache where nothing is set; what kept it from that, as a note. */
function compress(fd: number): string[] {
  if (fgetxattr(fd, "btrfs.compression") !== null) return [];
  try {
    fsetxattr(fd, "btrfs.compression", new TextEncoder().encode("zstd"));
    return [];
  } catch (error) {
    if (!isSysError(error, "EINVAL")) throw error;
    return ["@cache is not compressed: the file system is mounted with nodatacow"];
  }
}

/** True when a path lies on btrfs; of the nearest folder above where it is missing. */
export function onBtrfs(path: string): boolean {
  return withFd(openFolder(nearestExisting(path)), isBtrfs);
}
