/** op-dbus snapshot */
import { absolute } from "./absolute.ts";
import { command, group } from "./command.ts";
import { confirm } from "./confirm.ts";
import { argument, DRY_RUN, toggle, YES } from "./flags.ts";
import {
  findTargetFor,
  FOLDER,
  lazyRecorder,
  lockOptions,
  TARGET,
  type TargetFlag,
  tellNotes,
  WAIT,
} from "./snapshot_common.ts";
import { hold, release } from "./snapshot_hold.ts";
import { list } from "./snapshot_list.ts";
import { replicate } from "./snapshot_replicate.ts";
import { cat, diff, restore, verify } from "./snapshot_restore.ts";
import { plan, prune, rotate } from "./snapshot_rotate.ts";
import { receive, send } from "./snapshot_send.ts";
import { installTimer } from "./snapshot_timer.ts";

const create = command<TargetFlag & { allowNested?: boolean; wait?: number }>({
  brief: "Take a read-only snapshot",
  examples: ["op-dbus snapshot create", "op-dbus snapshot create --target state --json"],
  flags: {
    target: TARGET,
    allowNested: toggle("Also when nested subvolumes will be missing in it"),
    wait: WAIT,
  },
  async run(context, flags) {
    const { createSnapshot } = await import("../snapshot/create.ts");
    const made = await createSnapshot(await findTargetFor(context, flags), {
      ...(flags.allowNested && { allowNested: true }),
      ...lockOptions(context, flags.wait),
    });
    tellNotes(context, made.notes);
    const { name, path, uuid, timeMs } = made;
    context.out.result(
      { target: made.target, name, path, uuid, time: new Date(timeMs).toISOString() },
      () => `Created ${path}`,
    );
  },
});

interface DeleteFlags extends TargetFlag {
  readonly folder?: string;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly wait?: number;
}

const remove = command<DeleteFlags, string[]>({
  brief: "Delete snapshots by name",
  description:
    "What is held is not deleted; what op-dbus does not recognise only by force.",
  examples: [
    "op-dbus snapshot delete cache@2025-01-15-10:00",
    "op-dbus snapshot delete --folder /backup cache@2025-01-15-10:00 --yes",
  ],
  flags: {
    target: TARGET,
    folder: FOLDER,
    force: toggle("Also one that op-dbus does not recognise as its own"),
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  positional: {
    kind: "array",
    parameter: argument("Name of the snapshot", "NAME"),
    minimum: 1,
  },
  async run(context, flags, ...names) {
    const { deleteSnapshot, deleteReceived, findSnapshot } = await import(
      "../snapshot/remove.ts"
    );
    const folder = flags.folder === undefined ? undefined : absolute(flags.folder);
    const options = {
      ...lockOptions(context, flags.wait),
      ...(flags.force && { force: true }),
    };
    const recorder = lazyRecorder(context);
    const work = await Promise.all(names.map(async (name) => {
      if (folder !== undefined) {
        return {
          path: `${folder}/${name}`,
          run: async () => await deleteReceived(folder, name, flags.force),
        };
      }
      const target = await findTargetFor(context, flags, name);
      const { path } = findSnapshot(target, name);
      return {
        path,
        run: async () => {
          await deleteSnapshot(target, name, options);
          const data = { target: target.name, path };
          const action = { category: "snapshot", action: "delete", subject: name, data };
          await recorder.record(action);
        },
      };
    }));
    const paths = work.map(({ path }) => path);
    if (!flags.dryRun) {
      const what = paths.length === 1 ? paths[0] : `${paths.length} snapshots`;
      await confirm(context, `Delete ${what}`, flags.yes ?? false);
      for (const { run } of work) await run();
    }
    const verb = flags.dryRun ? "Would delete" : "Deleted";
    context.out.result(
      { deleted: paths, dry_run: flags.dryRun ?? false },
      () => paths.map((path) => `${verb} ${path}`).join("\n"),
    );
  },
});

export const snapshot = group("Take, rotate, restore and replicate snapshots", {
  create,
  list,
  rotate,
  prune,
  plan,
  restore,
  cat,
  diff,
  verify,
  hold,
  release,
  delete: remove,
  send,
  receive,
  replicate,
  "install-timer": installTimer,
});
