/** Where plugin commands work: under one lock, on a root that was tidied first. */
import { acquireLock } from "../base/lock.ts";
import type { Layout } from "../base/layout.ts";
import type { Recorder } from "../base/recorder.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { statAt } from "../../ffi/stat.ts";
import { OpError } from "../base/errors.ts";
import { ensureFolder } from "./json_file.ts";
import { TreeStore } from "./store.ts";
import { recover, type Recovery, type Workplace } from "./transaction.ts";

/** How to get the place. */
export interface WorkplaceOptions {
  readonly layout: Layout;
  readonly recorder: Recorder;
  /** How long to wait for another op-dbus; default: not at all. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
  /** Told what an interrupted command left and what became of it. */
  readonly recovered?: (recovery: Recovery) => void;
}

/**
 * Runs with the plugins' lock held, after finishing what an interrupted command had
 * decided.
 *
 * @throws {LockedError} when another op-dbus holds the lock
 * @throws {OpError} `no_root`
 */
export async function withWorkplace<T>(
  options: WorkplaceOptions,
  run: (place: Workplace) => Promise<T>,
): Promise<T> {
  const { layout, recorder, waitMs, signal } = options;
  requireRootFolder(layout);
  ensureFolder(layout.meta);
  using _lock = await acquireLock(layout.lock("plugin"), {
    ...(waitMs !== undefined && { waitMs }),
    ...(signal && { signal }),
  });
  ensureFolder(layout.pluginSnapshots);
  const place: Workplace = { layout, recorder, store: new TreeStore(layout.root) };
  const recovery = await recover(place);
  if (recovery.finished.length > 0 || recovery.cleaned.length > 0) {
    options.recovered?.(recovery);
  }
  return await run(place);
}

function requireRootFolder(layout: Layout): void {
  try {
    statAt(AT_FDCWD, layout.root, true);
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTDIR")) throw error;
    throw new OpError("no_root", `There is no root at ${layout.root}`, {
      cause: error,
      hint:
        "make it: op-dbus init, or op-dbus init --loopback 2G where there is no btrfs",
    });
  }
}
