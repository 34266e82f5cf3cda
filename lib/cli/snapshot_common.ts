/** What the snapshot commands share: flags, targets, a recorder that opens when needed. */
import type { Recorder } from "../base/recorder.ts";
import type { Found } from "../snapshot/found.ts";
import type { Target } from "../snapshot/target.ts";
import type { Context } from "./context.ts";
import { durationFlag, textFlag } from "./flags.ts";

export const TARGET = textFlag(
  "Whose snapshot (default: by its name, else cache)",
  "TARGET",
);
export const FOLDER = textFlag(
  "A folder of received snapshots instead of a target",
  "DIR",
);
export const WAIT = durationFlag("Wait this long for another op-dbus to finish");

/** The flags that choose a target. */
export interface TargetFlag {
  readonly target?: string;
}

const DEFAULT_TARGET = "cache";

/**
 * The target of a command.
 *
 * @param name the snapshot that it names, where it names one
 */
export async function findTargetFor(
  context: Context,
  { target }: TargetFlag,
  name?: string,
): Promise<Target> {
  const { findTarget, targetOfName } = await import("../snapshot/target.ts");
  const { requireRoot } = await import("../base/root.ts");
  const { layout, config } = context;
  requireRoot(layout.root);
  const byName = name !== undefined && target === undefined
    ? targetOfName(layout, config, name)
    : null;
  return byName ?? findTarget(layout, config, target ?? DEFAULT_TARGET);
}

/** The targets that a command names; the configured default where it names none. */
export async function findTargets(
  context: Context,
  names: readonly string[],
  all = false,
): Promise<Target[]> {
  const { allTargets, findTarget } = await import("../snapshot/target.ts");
  const { requireRoot } = await import("../base/root.ts");
  const { layout, config } = context;
  requireRoot(layout.root);
  if (all) return allTargets(layout, config);
  const chosen = names.length > 0 ? names : config.get("snapshot.default_targets");
  return [...new Set(chosen)].map((name) => findTarget(layout, config, name));
}

/** Notes changes in the audit chain, which is opened with the first of them. */
export function lazyRecorder(context: Context): Recorder {
  let open: Promise<Recorder> | undefined;
  return {
    async record(action) {
      open ??= import("./open_chain.ts").then((m) => m.openRecorder(context));
      try {
        await (await open).record(action);
      } catch (error) {
        open = undefined; // the next note, or this one again, opens it afresh
        throw error;
      }
    },
  };
}

/** Says what is worth knowing although it worked; not with `--quiet`. */
export function tellNotes(context: Context, notes: readonly string[]): void {
  if (context.out.options.quiet) return;
  for (const note of notes) context.out.warn(note);
}

/** A found snapshot as `--json` prints it everywhere. */
export function foundJson({ name, path, timeMs, info, holds, problem }: Found) {
  return {
    name,
    path,
    time: timeMs === null ? null : new Date(timeMs).toISOString(),
    uuid: info.uuid,
    received_uuid: info.receivedUuid,
    read_only: info.readOnly,
    holds: holds.map(({ tag }) => tag),
    problem,
  };
}

/** Options for a lock and for Ctrl-C. */
export function lockOptions(context: Context, wait: number | undefined) {
  return { ...(wait !== undefined && { waitMs: wait }), signal: context.signal };
}
