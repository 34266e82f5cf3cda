/** `plugin install` and `plugin upgrade`: resolve, get, check, ask, receive, activate. */
import { InputError, OpError } from "../base/errors.ts";
import { receiveStream } from "../stream/receive.ts";
import { prepareActivation, type Prepared } from "./activate.ts";
import {
  type AcquireContext,
  acquireFile,
  acquireFromRepository,
  acquireUrl,
  dropDownload,
  type VerifiedPackage,
  verifiedParents,
} from "./acquire.ts";
import type { Catalog, RepositoryOrigin } from "./catalog.ts";
import { noteYanked, requireHostFor } from "./install_checks.ts";
import { dependenciesOf, type LivePlugin, livePlugins } from "./installed.ts";
import type { LockedPlugin } from "./lockfile.ts";
import { snapshotName } from "./names.ts";
import { newPath, transactionPath, versionPath } from "./places.ts";
import type { HostCheck } from "./requirements.ts";
import type { InstallRequest } from "./request.ts";
import { type Candidate, resolve } from "./resolve.ts";
import { commit, type Workplace } from "./transaction.ts";
import { readRecord, removeRecord, writeRecordUnsynced } from "./version_store.ts";
import { compareVersions } from "./versions.ts";

/** Where a candidate comes from. */
export type Origin =
  | RepositoryOrigin
  | { readonly kind: "package"; readonly package: VerifiedPackage }
  | { readonly kind: "live"; readonly plugin: LivePlugin };

/** One change that an install makes. */
export interface PlannedChange {
  readonly name: string;
  /** Null where it is new. */
  readonly from: string | null;
  readonly to: string;
  readonly action: "install" | "upgrade" | "downgrade" | "replace";
  readonly candidate: Candidate<Origin>;
  /** Null where the version is here already; known once it is fetched. */
  readonly package: VerifiedPackage | null;
}

/** What an install needs besides a place. */
export interface InstallContext extends AcquireContext, HostCheck {
  readonly catalog: Catalog;
  /** Exactly these versions and digests. */
  readonly locked?: readonly LockedPlugin[] | undefined;
  /** Shown the plan before anything is fetched; what is false ends it there. */
  readonly planned?: (changes: readonly PlannedChange[]) => boolean;
  /** Shown the packages before anything is changed; throws when nobody agrees. */
  readonly agree: (changes: readonly PlannedChange[]) => Promise<void>;
  readonly progress?: (what: string, done: number, total: number) => void;
}

/** One change as it was made. */
export interface InstalledChange extends Prepared {
  readonly change: PlannedChange;
}

/**
 * Installs what is asked for and what that depends on, all or nothing.
 *
 * @returns the changes; empty where everything is as wanted
 * @throws {OpError} what any of the steps throws; nothing is live then that was not before
 */
export async function installPlugins(
  place: Workplace,
  requests: readonly InstallRequest[],
  context: InstallContext,
): Promise<InstalledChange[]> {
  using opened = new DisposableStack();
  const packages: VerifiedPackage[] = [];
  for (const request of requests) {
    if (request.kind === "name") continue;
    const one = request.kind === "file"
      ? await acquireFile(context, request.path)
      : await acquireUrl(context, request.url);
    opened.use(one.file);
    packages.push(one);
  }
  const names = requests.flatMap((request) =>
    request.kind === "name" ? [request.wanted] : []
  );
  if (names.length > 0) context.catalog.requireSome();
  const exact = packages.map(({ content: { manifest } }) => ({
    name: manifest.name,
    range: manifest.version,
  }));
  const goals = [...exact, ...names];
  const chosen = choose(
    place,
    context,
    goals,
    packages,
    new Set(names.map((n) => n.name)),
  );
  return await carryOut(place, context, chosen);
}

/**
 * Brings plugins to the newest version that fits.
 *
 * @param names which; empty for all
 */
export async function upgradePlugins(
  place: Workplace,
  names: readonly string[],
  context: InstallContext,
): Promise<InstalledChange[]> {
  const live = livePlugins(place.layout);
  for (const name of names) {
    if (live.some((plugin) => plugin.name === name)) continue;
    throw new InputError("not_installed", `${name} is not installed`, {
      hint: `install it: op-dbus plugin install ${name}`,
    });
  }
  context.catalog.requireSome();
  const which = new Set(names.length > 0 ? names : live.map(({ name }) => name));
  for (const plugin of live) if (which.has(plugin.name)) noteYanked(context, plugin);
  const goals = names.map((name) => ({ name, range: "*" }));
  return await carryOut(place, context, choose(place, context, goals, [], which));
}

function choose(
  { layout }: Workplace,
  context: InstallContext,
  goals: readonly { name: string; range: string }[],
  packages: readonly VerifiedPackage[],
  newest: ReadonlySet<string>,
): PlannedChange[] {
  const live = livePlugins(layout);
  const given = packages.map((one) => packageCandidate(one));
  const chosen = resolve<Origin>({
    goals,
    installed: live.map(liveCandidate),
    available: (name) => [
      ...given.filter((candidate) => candidate.name === name),
      ...allowed(context, offered(context, name)),
    ],
    prefersNewest: (name) => newest.has(name),
  });
  const byName = new Map(live.map((plugin) => [plugin.name, plugin]));
  return chosen.flatMap((candidate) => {
    // A package that is given replaces what is live even at the same version.
    const own = given.find((c) =>
      c.name === candidate.name && c.version === candidate.version
    );
    const change = planOne(own ?? candidate, byName.get(candidate.name));
    return change ? [change] : [];
  });
}

/** What the repositories have of a plugin; with --ignore-requirements for any host. */
function offered(context: InstallContext, name: string): Candidate<RepositoryOrigin>[] {
  const candidates = context.catalog.candidates(name, context.host);
  if (!context.ignoreRequirements) return candidates;
  return candidates.map((candidate) => ({ ...candidate, missing: [] }));
}

/** With a lock file, only what it names, with the digest that it names. */
function allowed(
  context: InstallContext,
  candidates: Candidate<RepositoryOrigin>[],
): Candidate<RepositoryOrigin>[] {
  const { locked } = context;
  if (!locked) return candidates;
  return candidates.filter(({ name, version, origin }) =>
    locked.some((one) =>
      one.name === name && one.version === version && one.tree === origin.entry.tree
    )
  );
}

function liveCandidate(plugin: LivePlugin): Candidate<Origin> {
  const { name, manifest: { version }, dependencies } = plugin;
  const origin = { kind: "live" as const, plugin };
  return { name, version, dependencies, installed: true, origin };
}

function packageCandidate(one: VerifiedPackage): Candidate<Origin> {
  const { name, version } = one.content.manifest;
  const dependencies = dependenciesOf(one.content.manifest);
  const origin = { kind: "package" as const, package: one };
  return { name, version, dependencies, installed: false, origin };
}

function planOne(
  candidate: Candidate<Origin>,
  live: LivePlugin | undefined,
): PlannedChange | null {
  const { name, version: to, origin } = candidate;
  if (origin.kind === "live") return null;
  const tree = origin.kind === "package"
    ? origin.package.content.tree
    : origin.entry.tree;
  if (live?.marker?.version === to && live.marker.tree === tree) return null;
  const from = live?.manifest.version ?? null;
  const order = from === null ? 0 : compareVersions(to, from);
  const action = from === null
    ? "install"
    : order > 0
    ? "upgrade"
    : order < 0
    ? "downgrade"
    : "replace";
  const given = origin.kind === "package" ? origin.package : null;
  return { name, from, to, action, candidate, package: given };
}

async function carryOut(
  place: Workplace,
  context: InstallContext,
  planned: readonly PlannedChange[],
): Promise<InstalledChange[]> {
  if (planned.length === 0) return [];
  if (context.planned && !context.planned(planned)) return [];
  using opened = new DisposableStack();
  const changes: PlannedChange[] = [];
  for (const [i, change] of planned.entries()) {
    context.progress?.(`${change.name}@${change.to}`, i, planned.length);
    const fetched = await fetchChange(place, context, change);
    if (fetched.package) opened.use(fetched.package.file);
    changes.push(fetched);
  }
  await requireHostFor(place, context, changes);
  await context.agree(changes);
  const received: PlannedChange[] = [];
  try {
    for (const change of changes) {
      context.signal?.throwIfAborted();
      if (!change.package) continue;
      await receiveVersion(place, context, change, change.package);
      received.push(change);
    }
    const done = await activateAll(place, context, changes);
    for (const { package: one } of changes) if (one) dropDownload(context, one.path);
    return done;
  } catch (error) {
    undo(place, changes, received);
    throw error;
  }
}

async function activateAll(
  place: Workplace,
  context: InstallContext,
  changes: readonly PlannedChange[],
): Promise<InstalledChange[]> {
  const prepared = changes.map((change) => ({
    change,
    ...prepareActivation(place, { name: change.name, version: change.to }, change.action),
  }));
  context.signal?.throwIfAborted();
  await commit(
    place,
    prepared.map(({ step }) => step),
    prepared.map(({ record }) => ({ ...record, data: { ...record.data } })),
  );
  return prepared;
}

/** Takes back what was prepared, unless it is decided: then the next command finishes. */
function undo(
  { layout, store }: Workplace,
  changes: readonly PlannedChange[],
  received: readonly PlannedChange[],
): void {
  if (store.exists(transactionPath(layout))) return;
  for (const { name } of changes) store.destroy(newPath(layout, name));
  for (const { name, to: version } of received) {
    store.destroy(versionPath(layout, { name, version }));
    removeRecord(layout, { name, version });
  }
}

/** The package of a change; none where that very version is here already. */
async function fetchChange(
  place: Workplace,
  context: InstallContext,
  change: PlannedChange,
): Promise<PlannedChange> {
  const { origin } = change.candidate,
    version = { name: change.name, version: change.to };
  const tree = origin.kind === "package"
    ? origin.package.content.tree
    : origin.kind === "repository"
    ? origin.entry.tree
    : null;
  const here = readRecord(place.layout, version);
  if (here && here.tree === tree) return { ...change, package: null };
  if (place.store.exists(versionPath(place.layout, version))) {
    throw new OpError(
      "version_differs",
      `${snapshotName(version)} is here already, with other content`,
      {
        hint: "one version is one content: if you trust the new one, first run " +
          `op-dbus plugin remove ${change.name} --purge`,
      },
    );
  }
  if (origin.kind !== "repository") return change;
  const fetched = await acquireFromRepository(context, version, origin);
  return { ...change, package: fetched };
}

/** Receives a package as a read-only version, and notes what was verified. */
export async function receiveVersion(
  place: Workplace,
  context: Pick<InstallContext, "signal" | "progress">,
  version: { readonly name: string; readonly to: string },
  verified: VerifiedPackage,
): Promise<void> {
  const { layout, store } = place;
  const named = { name: version.name, version: version.to };
  const { identity, totals } = verified.content.audit;
  const record = {
    ...named,
    tree: verified.content.tree,
    sha256: verified.digests.sha256,
    signed_by: verified.signedBy,
    source: verified.source,
    installed: new Date().toISOString(),
    stream: { uuid: identity.uuid, ctransid: String(identity.ctransid) },
  };
  // Receiving syncs the file system before the version shows, and so this before it.
  writeRecordUnsynced(layout, { ...record, identity: null });
  try {
    const received = await receiveStream(await verified.file.source(), {
      // Nobody can have changed it since: PackageFile.
      audited: verified.content.audit,
      folder: layout.pluginSnapshots,
      name: snapshotName(named),
      expectedDigest: verified.content.tree,
      parent: verifiedParents(layout),
      ...(context.signal && { signal: context.signal }),
      progress: (bytes, pass) => {
        if (pass === "receive") {
          context.progress?.(snapshotName(named), bytes, totals.writtenBytes);
        }
      },
    });
    // Deciding syncs the file system, and so this before anything is built on it.
    const identity = store.identity(received.path)!;
    writeRecordUnsynced(layout, { ...record, identity });
  } catch (error) {
    store.destroy(versionPath(layout, named));
    removeRecord(layout, named);
    throw error;
  }
}
