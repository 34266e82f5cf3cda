/**
 * Changes of the live plugins that are whole or absent. Everything is prepared beside;
 * then the decision is written to one file, which is the point of no return; then the
 * steps are done, each of which can be done twice. Whoever finds that file finishes it.
 */
import * as v from "valibot";
import { isSysError } from "../../ffi/errno.ts";
import { listFolder } from "../../ffi/directory.ts";
import {
  AT_FDCWD,
  fsyncFolder,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  rename,
  RENAME_EXCHANGE,
  unlinkAt,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { temporaryBeside } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import type { Recorder } from "../base/recorder.ts";
import { readJsonFile, removeIfThere } from "./json_file.ts";
import { NameSchema, VersionSchema } from "./manifest_schema.ts";
import {
  gonePath,
  livePath,
  newPath,
  previousPath,
  transactionPath,
  versionPath,
} from "./places.ts";
import { cleanReceives } from "../stream/staging.ts";
import type { TreeStore } from "./store.ts";
import { pendingVersions, removeRecord } from "./version_store.ts";
import { writeLockFile } from "./lockfile.ts";

const StepSchema = v.variant("op", [
  /** `.new-NAME` becomes live, what was live becomes previous. */
  v.object({
    op: v.literal("activate"),
    name: NameSchema,
    version: VersionSchema,
    /** Identity of the tree that shall be live. */
    identity: v.string(),
  }),
  /** Live and previous change places. */
  v.object({ op: v.literal("rollback"), name: NameSchema, identity: v.string() }),
  /** Live becomes previous, or is deleted; versions are deleted. */
  v.object({
    op: v.literal("remove"),
    name: NameSchema,
    identity: v.nullable(v.string()),
    purge: v.boolean(),
    versions: v.array(VersionSchema),
  }),
]);

const TransactionSchema = v.object({
  format: v.literal(1),
  started: v.string(),
  steps: v.array(StepSchema),
  records: v.array(v.object({
    category: v.string(),
    action: v.string(),
    subject: v.string(),
    data: v.record(v.string(), v.unknown()),
  })),
});

export type Step = v.InferOutput<typeof StepSchema>;
export type Transaction = v.InferOutput<typeof TransactionSchema>;

/** Where changes are made. */
export interface Workplace {
  readonly layout: Layout;
  readonly store: TreeStore;
  readonly recorder: Recorder;
}

/**
 * Decides and does. When this throws before the decision is written, nothing is changed;
 * after it, the next command finishes.
 *
 * @param steps what to do, in this order
 * @param records what to tell the audit chain once it is done
 */
export async function commit(
  place: Workplace,
  steps: readonly Step[],
  records: Transaction["records"],
): Promise<void> {
  const transaction: Transaction = {
    format: 1,
    started: new Date().toISOString(),
    steps: [...steps],
    records,
  };
  decide(place, transaction);
  await finish(place, transaction);
}

/**
 * Makes the decision durable, and before it all that it decides about: one sync of the
 * file system serves the prepared trees and the file, whose rename is the decision.
 */
function decide({ layout, store }: Workplace, transaction: Transaction): void {
  const path = transactionPath(layout), temporary = temporaryBeside(path);
  try {
    writeUnsynced(temporary, transaction);
    store.sync();
    rename(temporary, path);
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
  fsyncFolder(layout.meta);
}

function writeUnsynced(path: string, value: unknown): void {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  withFd(open(path, flags, 0o644), (fd) => {
    writeAll(fd, new TextEncoder().encode(JSON.stringify(value) + "\n"));
  });
}

async function finish(place: Workplace, transaction: Transaction): Promise<void> {
  for (const step of transaction.steps) doStep(place, step);
  place.store.syncFolder(place.layout.root);
  writeLockFile(place.layout);
  for (const record of transaction.records) await place.recorder.record(record);
  const path = transactionPath(place.layout);
  unlinkAt(AT_FDCWD, path);
  fsyncFolder(place.layout.meta);
}

function doStep(place: Workplace, step: Step): void {
  if (step.op === "activate") activate(place, step.name, step.identity);
  else if (step.op === "rollback") rollback(place, step.name, step.identity);
  else remove(place, step);
}

function activate({ layout, store }: Workplace, name: string, identity: string): void {
  const live = livePath(layout, name), next = newPath(layout, name);
  const previous = previousPath(layout, name);
  if (store.identity(next) === identity) {
    if (store.exists(live)) rename(next, live, RENAME_EXCHANGE);
    else rename(next, live);
  }
  if (store.identity(live) === identity && store.exists(next)) {
    // What lies at `next` now is what was live: the user's way back.
    store.destroy(previous);
    rename(next, previous);
  }
}

function rollback({ layout, store }: Workplace, name: string, identity: string): void {
  const live = livePath(layout, name), previous = previousPath(layout, name);
  if (store.identity(live) === identity) return;
  if (store.exists(live)) rename(previous, live, RENAME_EXCHANGE);
  else rename(previous, live);
}

function remove(
  { layout, store }: Workplace,
  step: Step & { op: "remove" },
): void {
  const { name, identity, purge } = step;
  const live = livePath(layout, name), previous = previousPath(layout, name);
  const gone = gonePath(layout, name);
  if (identity !== null && store.identity(live) === identity) {
    if (purge) {
      store.destroy(gone);
      rename(live, gone);
    } else {
      store.destroy(previous);
      rename(live, previous);
    }
    // Not in one with what follows: a version is deleted only once nothing live needs it.
    store.syncFolder(layout.root);
  }
  store.destroy(gone);
  if (purge) store.destroy(previous);
  for (const version of step.versions) {
    store.destroy(versionPath(layout, { name, version }));
    removeRecord(layout, { name, version });
  }
}

/** What {@link recover} did, for the user. */
export interface Recovery {
  /** Steps of an interrupted command that were finished. */
  readonly finished: readonly Step[];
  /** Folders of interrupted preparations that were removed. */
  readonly cleaned: readonly string[];
}

/**
 * Finishes what an interrupted command had decided, and removes what one had only
 * prepared. The caller holds the lock.
 */
export async function recover(place: Workplace): Promise<Recovery> {
  const { layout, store } = place;
  const transaction = readJsonFile(TransactionSchema, transactionPath(layout));
  if (transaction) await finish(place, transaction);
  const cleaned: string[] = [];
  for (const entry of listFolder(layout.root)) {
    const name = new TextDecoder().decode(entry.name);
    if (!name.startsWith(".new-") && !name.startsWith(".gone-")) continue;
    store.destroy(`${layout.root}/${name}`);
    cleaned.push(name);
  }
  for (const version of pendingVersions(layout)) {
    store.destroy(versionPath(layout, version));
    removeRecord(layout, version);
    cleaned.push(`${version.name}@${version.version}`);
  }
  if (store.exists(layout.pluginSnapshots)) cleanReceives(layout.pluginSnapshots);
  removeTemporaries(layout);
  return { finished: transaction?.steps ?? [], cleaned };
}

/** Files of ours, each written under the lock that the caller holds. */
const OWN_FILES = [
  "trust.json",
  "repositories.json",
  "plugin-transaction.json",
  "op-dbus.lock",
];

/** `.tmp-*` files that a writer of our own left when it was killed. */
function removeTemporaries({ meta }: Layout): void {
  const ours = (file: string) => OWN_FILES.includes(file);
  const folders = [{ path: meta, ours }, {
    path: `${meta}/repositories`,
    ours: () => true,
  }];
  for (const folder of folders) {
    for (const name of namesIn(folder.path)) {
      const file = /^\.tmp-\d+-\d+-(.+)$/.exec(name)?.[1];
      if (file && folder.ours(file)) unlinkAt(AT_FDCWD, `${folder.path}/${name}`);
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return listFolder(folder).map((entry) => new TextDecoder().decode(entry.name));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw error;
  }
}
