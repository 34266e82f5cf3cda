/** Activate, roll back, remove, tidy up, verify: what is done with plugins that are here. */
import { listFolder } from "../../ffi/directory.ts";
import { AT_FDCWD, unlinkAt } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { isFolder, statAt } from "../../ffi/stat.ts";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { digestOfFolder } from "../stream/disk_tree.ts";
import {
  prepareActivation,
  type Prepared,
  prepareRemoval,
  prepareRollback,
  requireMet,
  requireVersion,
} from "./activate.ts";
import { changedPaths } from "./changed_paths.ts";
import { dependenciesOf, livePlugin, manifestOf, previousPlugin } from "./installed.ts";
import { mappingOf } from "./mapping_file.ts";
import { type NameVersion, snapshotName } from "./names.ts";
import {
  downloadsPath,
  livePath,
  newPath,
  transactionPath,
  versionPath,
} from "./places.ts";
import { type HostCheck, requireHost } from "./requirements.ts";
import { commit, type Workplace } from "./transaction.ts";
import { usersPaths } from "./user_files.ts";
import { readRecord, removeRecord, storedVersions } from "./version_store.ts";

async function carryOut(place: Workplace, prepared: readonly Prepared[]): Promise<void> {
  await commit(
    place,
    prepared.map(({ step }) => step),
    prepared.map(({ record }) => ({ ...record, data: { ...record.data } })),
  );
}

/**
 * Checks that {@link activateVersion} may be done, and changes nothing.
 *
 * @param check of the host; also whether to take a version that op-dbus did not receive
 * @returns the version that is live until then; null where none is
 * @throws {InputError} `no_such_version`, `unverified`
 * @throws {OpError} `dependents`, `missing_requirements`
 * @throws {DifferenceError} `tampered`
 */
export async function planActivation(
  place: Workplace,
  version: NameVersion,
  check: HostCheck & { readonly allowUnverified?: boolean },
): Promise<string | null> {
  requireVersion(place, version, check.allowUnverified);
  const path = versionPath(place.layout, version), manifest = manifestOf(path);
  if (manifest) {
    const dependencies = dependenciesOf(manifest);
    requireMet(place, [{ ...version, dependencies }]);
    await requireHost([{ ...version, manifest, mapping: mappingOf(path) }], check);
  }
  return livePlugin(place.layout, version.name)?.manifest.version ?? null;
}

/**
 * Makes a version live that is here already, once {@link planActivation} has agreed.
 *
 * @param allowUnverified take one that op-dbus did not receive itself
 */
export async function activateVersion(
  place: Workplace,
  version: NameVersion,
  allowUnverified = false,
): Promise<Prepared> {
  try {
    const prepared = prepareActivation(place, version, "activate", allowUnverified);
    await carryOut(place, [prepared]);
    return prepared;
  } catch (error) {
    discardPrepared(place, version.name);
    throw error;
  }
}

function discardPrepared({ layout, store }: Workplace, name: string): void {
  if (!store.exists(transactionPath(layout))) store.destroy(newPath(layout, name));
}

/**
 * What a rollback would do; {@link rollbackPlugin} does it.
 *
 * @param check of the host, which may have changed since that version was live
 * @throws {OpError} `no_previous`, `dependents`, `missing_requirements`
 */
export async function planRollback(
  place: Workplace,
  name: string,
  check: HostCheck,
): Promise<Prepared> {
  const prepared = prepareRollback(place, name);
  const { path, manifest } = previousPlugin(place.layout, name)!;
  if (manifest) {
    const { version } = manifest;
    await requireHost([{ name, version, manifest, mapping: mappingOf(path) }], check);
  }
  return prepared;
}

/** Exchanges the live plugin with the one before it. */
export async function rollbackPlugin(
  place: Workplace,
  planned: Prepared,
): Promise<void> {
  await carryOut(place, [planned]);
}

/**
 * What a removal would do; {@link removePlugins} does it.
 * @throws {OpError} `dependents`; {InputError} `not_installed`
 */
export function planRemoval(
  place: Workplace,
  names: readonly string[],
  purge: boolean,
): Prepared[] {
  return names.map((name) => prepareRemoval(place, name, { purge, alsoRemoved: names }));
}

/** Removes plugins together; their state is kept unless purged. */
export async function removePlugins(
  place: Workplace,
  planned: readonly Prepared[],
): Promise<void> {
  await carryOut(place, planned);
}

/** A version and what becomes of it. */
export interface GcDecision extends NameVersion {
  readonly keep: boolean;
  /** Why, for the user. */
  readonly reason: string;
}

/**
 * Which versions to keep: what is live, what a rollback needs, the newest few.
 *
 * @param keep how many of the newest of each live plugin
 */
export function planGc(layout: Layout, keep: number): GcDecision[] {
  const decisions: GcDecision[] = [];
  const rank = new Map<string, number>();
  for (const { name, version } of storedVersions(layout)) {
    const live = livePlugin(layout, name), previous = previousPlugin(layout, name);
    const place = (rank.get(name) ?? 0) + 1;
    rank.set(name, place);
    const reason = live?.marker?.version === version
      ? "live"
      : previous?.marker?.version === version
      ? live ? "rollback goes back to it" : "kept state was made from it"
      : live && place <= keep
      ? `among the newest ${keep}`
      : null;
    const why = reason ?? (live ? `older than the newest ${keep}` : "not installed");
    decisions.push({ name, version, keep: reason !== null, reason: why });
  }
  return decisions;
}

/** Deletes versions and old downloads; what it deleted goes to the chain. */
export async function collectGarbage(
  place: Workplace,
  decisions: readonly GcDecision[],
): Promise<{ downloads: number }> {
  const { layout, store, recorder } = place;
  for (const { name, version, keep, reason } of decisions) {
    if (keep) continue;
    store.destroy(versionPath(layout, { name, version }));
    removeRecord(layout, { name, version });
    const subject = `${name}@${version}`;
    await recorder.record({
      category: "plugin",
      action: "gc",
      subject,
      data: { reason },
    });
  }
  store.syncFolder(layout.pluginSnapshots);
  return { downloads: dropDownloads(layout) };
}

/** The lock is held, so no download is under way. */
function dropDownloads(layout: Layout): number {
  const folder = downloadsPath(layout);
  let dropped = 0;
  try {
    for (const { name } of listFolder(folder)) {
      const path = `${folder}/${new TextDecoder().decode(name)}`;
      if (isFolder(statAt(AT_FDCWD, path))) continue;
      unlinkAt(AT_FDCWD, path);
      dropped++;
    }
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
  return dropped;
}

/** What `plugin verify` found. */
export interface Verification {
  readonly name: string;
  readonly version: string | null;
  /** What is wrong with the version that it was made from; null where nothing is. */
  readonly fault: string | null;
  /** Paths of the live plugin that differ though they are not the user's. */
  readonly changed: readonly string[];
  /** Paths of the user's that differ; as it should be. */
  readonly users: readonly string[];
  readonly ok: boolean;
}

/**
 * Compares a live plugin with the version that it was made from, and that version with
 * what was verified when it came in. Reads everything.
 */
export function verifyPlugin(layout: Layout, name: string): Verification {
  const live = livePlugin(layout, name);
  if (!live) {
    throw new InputError("not_installed", `${name} is not installed, or broken`, {
      hint: "see what is with: op-dbus plugin list",
    });
  }
  const result = (
    fault: string | null,
    changed: string[] = [],
    users: string[] = [],
  ) => ({
    name,
    version: live.marker?.version ?? null,
    fault,
    changed,
    users,
    ok: fault === null && changed.length === 0,
  });
  if (!live.marker) return result("it was not installed from a package");
  const { version } = live.marker, shown = snapshotName({ name, version });
  const record = readRecord(layout, { name, version });
  if (!record) return result(`${shown} was not verified by op-dbus`);
  const path = versionPath(layout, { name, version });
  let tree: string;
  try {
    tree = digestOfFolder(path);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return result(`${shown} is gone`);
    throw error;
  }
  if (tree !== record.tree) return result(`${shown} was changed since it was installed`);
  const isUsers = usersPaths(live.manifest.config);
  const differing = changedPaths(path, livePath(layout, name));
  return result(
    null,
    differing.filter(({ key }) => !isUsers(key)).map(({ shown }) => shown),
    differing.filter(({ key }) => isUsers(key)).map(({ shown }) => shown),
  );
}
