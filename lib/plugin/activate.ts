/** Making a version live, going back, removing: prepared here, done by transaction.ts. */
import type { RecordedAction } from "../base/recorder.ts";
import { DifferenceError, InputError, OpError } from "../base/errors.ts";
import { isSubvolume, openFolder, subvolumeInfo } from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";
import { digestOfFolder } from "../stream/disk_tree.ts";
import { openFolderAt } from "./copy_tree.ts";
import {
  dependenciesOf,
  dependentsOf,
  livePlugin,
  livePlugins,
  manifestOf,
  previousPlugin,
  unmetDependencies,
} from "./installed.ts";
import { readMarker, writeMarker } from "./marker.ts";
import { type NameVersion, snapshotName } from "./names.ts";
import { livePath, newPath, versionPath } from "./places.ts";
import type { Step, Workplace } from "./transaction.ts";
import { type MergeReport, mergeUserFolders, usersPaths } from "./user_files.ts";
import { readRecord, storedVersions } from "./version_store.ts";

/** A step with what the user and the chain are told about it. */
export interface Prepared {
  readonly step: Step;
  readonly record: RecordedAction;
  readonly report: MergeReport;
  /** What is live until then; null where nothing is. */
  readonly from: string | null;
}

const NOTHING: MergeReport = { kept: [], conflicts: [], abandoned: [] };

/**
 * Checks that a version is here and is what was verified.
 *
 * @param allowUnverified take one that op-dbus did not receive itself
 * @throws {InputError} `no_such_version`, `unverified`
 * @throws {DifferenceError} `tampered`
 */
export function requireVersion(
  { layout, store }: Workplace,
  version: NameVersion,
  allowUnverified = false,
): { tree: string } {
  const path = versionPath(layout, version), shown = snapshotName(version);
  if (!store.exists(path)) {
    const there = storedVersions(layout, version.name).map((v) => v.version).join(", ");
    throw new InputError("no_such_version", `${shown} is not here`, {
      hint: there ? `there are ${there}` : `get it with: op-dbus plugin install ${shown}`,
    });
  }
  const record = readRecord(layout, version);
  if (!record && !allowUnverified) {
    throw new InputError("unverified", `${shown} was not received by op-dbus`, {
      hint: "install its package, or take it as it is with --allow-unsigned",
    });
  }
  if (record?.identity === store.identity(path) && isUntouched(path)) {
    return { tree: record.tree };
  }
  const tree = digestOfFolder(path);
  if (record && record.tree !== tree) {
    throw new DifferenceError("tampered", `${shown} is not what was installed`, {
      hint:
        `it was changed since; install it again with: op-dbus plugin install ${shown}`,
    });
  }
  return { tree };
}

/**
 * True for a received snapshot that was never writable since: its last change is not
 * after its reception. Where that cannot be known the content is read.
 */
function isUntouched(path: string): boolean {
  return withFd(openFolder(path), (fd) => {
    if (!isSubvolume(fd)) return false;
    const { readOnly, receivedUuid, ctransid, rtransid } = subvolumeInfo(fd, path);
    return readOnly && receivedUuid !== null && ctransid <= rtransid;
  });
}

/**
 * Builds what shall be live: a writable copy of a version with the user's files in it.
 *
 * @param action the verb for the chain: `install`, `upgrade`, `activate`
 */
export function prepareActivation(
  place: Workplace,
  version: NameVersion,
  action: string,
  allowUnverified = false,
): Prepared {
  const { layout, store } = place, { name } = version;
  const { tree } = requireVersion(place, version, allowUnverified);
  const from = versionPath(layout, version), next = newPath(layout, name);
  const live = livePath(layout, name);
  store.destroy(next);
  store.copy(from, next);
  // What was removed without --purge has its state waiting.
  const kept = store.exists(live) ? live : previousPlugin(layout, name)?.path ?? null;
  const report = kept === null ? NOTHING : carryOver(place, kept, next);
  const activated = new Date().toISOString();
  writeMarker(next, { format: 1, ...version, tree, activated });
  const before = store.exists(live) ? readMarker(live)?.version ?? "unversioned" : null;
  const record = readRecord(layout, version);
  return {
    step: {
      op: "activate",
      name,
      version: version.version,
      identity: store.identity(next)!,
    },
    record: {
      category: "plugin",
      action,
      subject: `${name}@${version.version}`,
      data: {
        from: before,
        tree,
        package_sha256: record?.sha256 ?? null,
        signed_by: record?.signed_by ?? null,
        source: record?.source ?? null,
        conflicts: report.conflicts.map((conflict) => conflict.path),
      },
    },
    report,
    from: before,
  };
}

function carryOver(
  { layout, store }: Workplace,
  live: string,
  next: string,
): MergeReport {
  const marker = readMarker(live);
  const base = marker && versionPath(layout, marker);
  const shipped = base !== null && store.exists(base) ? base : null;
  const config = [live, next].flatMap((path) => manifestOf(path)?.config ?? []);
  return mergeUserFolders(shipped, live, next, usersPaths(config), openFolderAt);
}

/**
 * Going back to what was live before, with its state of that time.
 *
 * @throws {OpError} `no_previous`, `dependents`
 */
export function prepareRollback(place: Workplace, name: string): Prepared {
  const { layout, store } = place;
  const previous = previousPlugin(layout, name);
  if (!previous) {
    const versions = storedVersions(layout, name).map((v) => v.version).join(", ");
    throw new OpError("no_previous", `Nothing to roll ${name} back to`, {
      hint: versions
        ? `activate a version: op-dbus plugin activate ${name}@VERSION (${versions})`
        : "see what is here with: op-dbus plugin list",
    });
  }
  const live = livePlugin(layout, name);
  const to = previous.manifest;
  if (to) {
    requireMet(place, [{
      name,
      version: to.version,
      dependencies: dependenciesOf(to),
    }]);
  }
  const version = previous.marker?.version ?? to?.version ?? "unversioned";
  return {
    step: { op: "rollback", name, identity: store.identity(previous.path)! },
    record: {
      category: "plugin",
      action: "rollback",
      subject: `${name}@${version}`,
      data: { from: live?.manifest.version ?? null, tree: previous.marker?.tree ?? null },
    },
    report: NOTHING,
    from: live?.manifest.version ?? null,
  };
}

/**
 * Checks that the live plugins still fit together when some become other versions.
 *
 * @throws {OpError} `dependents` naming who wants what, unless it is so already
 */
export function requireMet(
  { layout }: Workplace,
  changes: readonly {
    name: string;
    version: string;
    dependencies: readonly { name: string; range: string }[];
  }[],
): void {
  const now = livePlugins(layout).map(({ name, manifest, dependencies }) => ({
    name,
    version: manifest.version,
    dependencies,
  }));
  const changed = new Set(changes.map(({ name }) => name));
  const after = [...now.filter(({ name }) => !changed.has(name)), ...changes];
  const before = new Set(unmetDependencies(now));
  const unmet = unmetDependencies(after).filter((line) => !before.has(line));
  if (unmet.length === 0) return;
  throw new OpError("dependents", `Plugins would no longer fit: ${unmet.join("; ")}`, {
    hint: "change those too, e.g. with: op-dbus plugin upgrade",
  });
}

/**
 * Removing a plugin. Its state is kept as the previous one unless purged.
 *
 * @throws {InputError} `not_installed`
 * @throws {OpError} `dependents`
 */
export function prepareRemoval(
  place: Workplace,
  name: string,
  options: { readonly purge: boolean; readonly alsoRemoved?: readonly string[] },
): Prepared {
  const { layout, store } = place, { purge } = options;
  const live = livePath(layout, name);
  const identity = store.identity(live), previous = previousPlugin(layout, name);
  const versions = storedVersions(layout, name);
  if (identity === null && !(purge && (previous || versions.length > 0))) {
    throw new InputError("not_installed", `${name} is not installed`, {
      hint: previous
        ? `its state is kept: delete it with --purge, or op-dbus plugin rollback ${name}`
        : "see what is with: op-dbus plugin list",
    });
  }
  const others = livePlugins(layout).filter((p) =>
    !options.alsoRemoved?.includes(p.name)
  );
  const dependents = dependentsOf(others.filter((p) => p.name !== name), name);
  if (identity !== null && dependents.length > 0) {
    const names = dependents.map((dependent) => dependent.name).join(", ");
    throw new OpError("dependents", `Cannot remove ${name}: ${names} depend on it`, {
      hint: `remove them first: op-dbus plugin remove ${
        names.replaceAll(",", "")
      } ${name}`,
    });
  }
  // The version that the kept state was shipped with is needed to merge it some day.
  const base = identity === null ? null : readMarker(live)?.version ?? null;
  const removed = versions.map((v) => v.version).filter((v) => purge || v !== base);
  const version = identity === null ? null : manifestOf(live)?.version ?? null;
  return {
    step: { op: "remove", name, identity, purge, versions: removed },
    record: {
      category: "plugin",
      action: purge ? "purge" : "remove",
      subject: version === null ? name : `${name}@${version}`,
      data: { purge, versions: removed },
    },
    report: NOTHING,
    from: version,
  };
}
