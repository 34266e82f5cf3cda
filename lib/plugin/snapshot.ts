/** `plugin snapshot`: the live plugin as a version, and that version as a package. */
import { isSubvolume, openFolder, setReadOnly, subvolumeInfo } from "../../ffi/btrfs.ts";
import { AT_FDCWD, fsyncFolder, rename, unlinkAt, withFd } from "../../ffi/files.ts";
import { InputError, OpError } from "../base/errors.ts";
import { digestOfFolder } from "../stream/disk_tree.ts";
import { PACKAGE_LEVEL, saveStream } from "../stream/save.ts";
import { sendChunks } from "../stream/send.ts";
import { type Manifest } from "./manifest.ts";
import { MARKER_FILE } from "./marker.ts";
import { packageFileName, snapshotName } from "./names.ts";
import { requireFree } from "./pack.ts";
import { livePath, newPath, versionPath } from "./places.ts";
import { InvalidFileError } from "./problems.ts";
import type { Workplace } from "./transaction.ts";
import { validatePlugin } from "./validate.ts";
import { readRecord, writeRecord } from "./version_store.ts";

/** What was made. */
export interface SnapshotResult {
  readonly manifest: Manifest;
  /** The read-only snapshot. */
  readonly snapshot: string;
  readonly package: string;
  readonly tree: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** False where the version was there already. */
  readonly created: boolean;
}

/** How to make it. */
export interface SnapshotOptions {
  /** Folder that the package goes into. */
  readonly output: string;
  /** Make a difference to this version instead of the whole. */
  readonly deltaFrom?: string;
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly progress?: (streamBytes: number) => void;
}

/**
 * Freezes `@plugin-NAME` as `@plugin-snapshots/NAME@vX.Y.Z` and sends it into a package.
 *
 * @throws {InvalidFileError} when the plugin is not valid
 * @throws {InputError} `version_differs` when that version is there with other content
 * @throws {OpError} `not_btrfs`, `no_base`
 */
export async function snapshotPlugin(
  place: Workplace,
  name: string,
  options: SnapshotOptions,
): Promise<SnapshotResult> {
  const { layout, store } = place;
  const live = livePath(layout, name);
  if (!store.exists(live)) {
    throw new InputError("not_installed", `${name} is not installed`, {
      hint: "see what is with: op-dbus plugin list",
    });
  }
  if (store.kind !== "btrfs") {
    throw new OpError("not_btrfs", `Cannot snapshot ${live}: it is no btrfs subvolume`, {
      hint: `make the package without btrfs: op-dbus plugin pack ${live}`,
    });
  }
  const { manifest, problems, valid } = validatePlugin(live);
  if (!valid || !manifest) throw new InvalidFileError(problems);
  if (manifest.name !== name) {
    throw new InputError("wrong_name", `${live} holds ${manifest.name}, not ${name}`, {
      hint: "correct the name in plugin.toml",
    });
  }
  const { version } = manifest, from = options.deltaFrom ?? null;
  const base = from === null ? null : requireBase(place, name, from);
  const file = `${options.output}/${packageFileName({ name, version }, from)}`;
  requireFree(file, options.force ?? false);
  const { tree, created } = freeze(place, { name, version });
  const snapshot = versionPath(layout, { name, version });
  const { signal, progress } = options;
  const chunks = sendChunks(snapshot, {
    // Packages are for every receiver, old kernels too.
    compressed: "never",
    ...(base && { parent: base }),
    ...(signal && { signal }),
  });
  const { sizeBytes, sha256 } = await saveStream(chunks, file, {
    zstdLevel: PACKAGE_LEVEL,
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  if (created) {
    await place.recorder.record({
      category: "plugin",
      action: "snapshot",
      subject: `${name}@${version}`,
      data: { tree, package_sha256: sha256, from },
    });
  }
  return { manifest, snapshot, package: file, tree, sizeBytes, sha256, created };
}

function requireBase(
  { layout, store }: Workplace,
  name: string,
  version: string,
): string {
  const path = versionPath(layout, { name, version });
  if (store.exists(path)) return path;
  throw new OpError("no_base", `${snapshotName({ name, version })} is not here`, {
    hint: "a difference needs the snapshot that its base was sent from",
  });
}

/** The live plugin as a read-only version; one that is there must be the same. */
function freeze(
  { layout, store }: Workplace,
  version: { name: string; version: string },
): { tree: string; created: boolean } {
  const target = versionPath(layout, version), shown = snapshotName(version);
  const next = newPath(layout, version.name);
  store.destroy(next);
  store.copy(livePath(layout, version.name), next);
  try {
    if (store.exists(`${next}/${MARKER_FILE}`)) {
      unlinkAt(AT_FDCWD, `${next}/${MARKER_FILE}`);
    }
    const tree = digestOfFolder(next);
    if (store.exists(target)) {
      const same = readRecord(layout, version)?.tree ?? digestOfFolder(target);
      store.destroy(next);
      if (same === tree) return { tree, created: false };
      throw new InputError("version_differs", `${shown} is there with other content`, {
        hint: "raise the version in plugin.toml",
      });
    }
    // Read-only trees cannot move between folders: it moves first, then it is frozen.
    rename(next, target);
    const { uuid, ctransid } = withFd(openFolder(target), (fd) => {
      if (!isSubvolume(fd)) throw new TypeError(`${target} is no subvolume`);
      setReadOnly(fd, true);
      return subvolumeInfo(fd, target);
    });
    fsyncFolder(layout.pluginSnapshots);
    store.sync();
    writeRecord(layout, {
      ...version,
      tree,
      sha256: null,
      signed_by: null,
      source: "live",
      installed: new Date().toISOString(),
      identity: store.identity(target)!,
      stream: { uuid, ctransid: String(ctransid) },
    });
    return { tree, created: true };
  } catch (error) {
    store.destroy(next);
    throw error;
  }
}
