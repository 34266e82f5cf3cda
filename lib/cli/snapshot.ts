/** op-dbus snapshot */
import { formatAge } from "../base/units.ts";
import { command, group } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { argument, DRY_RUN, durationFlag, textFlag, toggle, YES } from "./flags.ts";
import { table } from "./table.ts";

const TARGET = textFlag("What to snapshot (default: cache)", "TARGET");
const DEFAULT_TARGET = "cache";

interface TargetFlag {
  readonly target?: string;
}

/** The target that a command names. */
async function target(context: Context, { target }: TargetFlag) {
  const { findTarget } = await import("../snapshot/target.ts");
  const { requireRoot } = await import("../base/root.ts");
  requireRoot(context.layout.root);
  return findTarget(context.layout, context.config, target ?? DEFAULT_TARGET);
}

const create = command<TargetFlag & { allowNested?: boolean; wait?: number }>({
  brief: "Take a read-only snapshot",
  examples: ["op-dbus snapshot create", "op-dbus snapshot create --target state --json"],
  flags: {
    target: TARGET,
    allowNested: toggle("Also when nested subvolumes will be missing in it"),
    wait: durationFlag("Wait this long for another op-dbus to finish"),
  },
  async run(context, flags) {
    const { createSnapshot } = await import("../snapshot/create.ts");
    const made = await createSnapshot(await target(context, flags), {
      ...(flags.allowNested && { allowNested: true }),
      ...(flags.wait !== undefined && { waitMs: flags.wait }),
      signal: context.signal,
    });
    for (const note of made.notes) context.out.warn(note);
    const { name, path, uuid, timeMs } = made;
    context.out.result(
      { target: made.target, name, path, uuid, time: new Date(timeMs).toISOString() },
      () => `Created ${path}`,
    );
  },
});

const list = command<TargetFlag>({
  brief: "List the snapshots, oldest first",
  examples: ["op-dbus snapshot list", "op-dbus snapshot list --target state --json"],
  flags: { target: TARGET },
  async run(context, flags) {
    const { listFound } = await import("../snapshot/found.ts");
    const found = listFound(await target(context, flags));
    const nowMs = Date.now();
    const snapshots = found.map(({ name, path, timeMs, holds, problem }) => ({
      name,
      path,
      time: timeMs === null ? null : new Date(timeMs).toISOString(),
      holds: holds.map(({ tag }) => tag),
      problem,
    }));
    context.out.result({ snapshots }, () =>
      found.length === 0 ? "No snapshots" : table(
        ["NAME", "AGE", "HELD", "NOTE"],
        found.map(({ name, timeMs, holds, problem }) => [
          name,
          timeMs === null ? "?" : formatAge(nowMs - timeMs),
          holds.map(({ tag }) => tag).join(", "),
          problem ?? "",
        ]),
      ));
  },
});

interface DeleteFlags extends TargetFlag {
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

const remove = command<DeleteFlags, [string]>({
  brief: "Delete one snapshot",
  examples: ["op-dbus snapshot delete cache@2025-01-15-10:00"],
  flags: {
    target: TARGET,
    force: toggle("Also one that op-dbus does not recognise as its own"),
    dryRun: DRY_RUN,
    yes: YES,
  },
  positional: { kind: "tuple", parameters: [argument("Name of the snapshot", "NAME")] },
  async run(context, flags, name) {
    const { deleteSnapshot, findSnapshot } = await import("../snapshot/remove.ts");
    const of = await target(context, flags);
    const found = findSnapshot(of, name);
    if (!flags.dryRun) {
      await confirm(context, `Delete the snapshot ${found.name}`, flags.yes ?? false);
      await deleteSnapshot(of, name, { ...(flags.force && { force: true }) });
    }
    const verb = flags.dryRun ? "Would delete" : "Deleted";
    context.out.result(
      { name: found.name, path: found.path, dry_run: flags.dryRun ?? false },
      () => `${verb} ${found.path}`,
    );
  },
});

export const snapshot = group("Take, list and delete snapshots", {
  create,
  list,
  delete: remove,
});
