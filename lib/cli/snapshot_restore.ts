/** op-dbus snapshot restore, cat, diff, verify */
import { DifferenceError, InputError } from "../base/errors.ts";
import type { Found } from "../snapshot/found.ts";
import { absolute } from "./absolute.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { argument, DRY_RUN, textFlag, YES } from "./flags.ts";
import {
  findTargetFor,
  FOLDER,
  foundJson,
  lazyRecorder,
  lockOptions,
  TARGET,
  type TargetFlag,
  tellNotes,
  WAIT,
} from "./snapshot_common.ts";

const NAME = argument("Name of the snapshot", "NAME");

interface RestoreFlags extends TargetFlag {
  readonly to?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly wait?: number;
}

/** `op-dbus snapshot restore` */
export const restore = command<RestoreFlags, [string]>({
  brief: "Make a snapshot's content the live one",
  description:
    "What is live now becomes a snapshot first; the exchange is atomic. With " +
    "--to a writable copy is made beside instead, and nothing live changes.",
  examples: [
    "op-dbus snapshot restore cache@2025-01-15-10:00",
    "op-dbus snapshot restore state@2025-01-15-10:00 --to /var/lib/op-dbus/looked-at",
  ],
  flags: {
    target: TARGET,
    to: textFlag("Restore into this new folder instead", "DIR"),
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  positional: { kind: "tuple", parameters: [NAME] },
  async run(context, flags, name) {
    const { restore, restoreTo } = await import("../snapshot/restore.ts");
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const target = await findTargetFor(context, flags, name);
    const found = findSnapshot(target, name), { out } = context;
    const to = flags.to === undefined ? undefined : absolute(flags.to);
    if (flags.dryRun) {
      const where = to ?? target.path;
      out.result(
        { name: found.name, to: where, dry_run: true },
        () => `Would restore ${found.name} to ${where}`,
      );
      return;
    }
    if (to !== undefined) {
      restoreTo(target, found.name, to);
      out.result(
        { name: found.name, to, saved: null },
        () => `Restored ${found.name} to ${to}`,
      );
      return;
    }
    await confirm(
      context,
      `Replace ${target.path} with ${found.name}`,
      flags.yes ?? false,
    );
    const done = await restore(target, found.name, {
      ...lockOptions(context, flags.wait),
      recorder: lazyRecorder(context),
    });
    tellNotes(context, done.notes);
    const saved = done.saved === null ? "" : `; what was live is ${done.saved}`;
    out.result(
      { name: done.name, to: target.path, saved: done.saved, uuid: done.uuid },
      () => `Restored ${done.name}${saved}`,
    );
  },
});

const CHUNK_BYTES = 256 * 1024;

/** `op-dbus snapshot cat` */
export const cat = command<TargetFlag, [string, string]>({
  brief: "Write one file of a snapshot to standard output",
  examples: ["op-dbus snapshot cat state@2025-01-15-10:00 current.json"],
  flags: { target: TARGET },
  positional: {
    kind: "tuple",
    parameters: [NAME, argument("Path of the file in the snapshot", "FILE")],
  },
  async run(context, flags, name, file) {
    const { openInSnapshot } = await import("../snapshot/restore.ts");
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const { close, read } = await import("../../ffi/files.ts");
    const found = findSnapshot(await findTargetFor(context, flags, name), name);
    const fd = openInSnapshot(found, file);
    context.onClose(() => close(fd));
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let n = read(fd, chunk); n > 0; n = read(fd, chunk)) {
      context.out.bytes(chunk.subarray(0, n));
    }
  },
});

const SIGNS = {
  created: "+",
  deleted: "-",
  renamed: ">",
  modified: "~",
  metadata: ".",
} as const;

/** `op-dbus snapshot diff` */
export const diff = command<TargetFlag, [string, string]>({
  brief: "List what changed from one snapshot to another",
  description: "From the file system's metadata: no file is read. Signs: + created, - " +
    "deleted, ~ modified, > renamed, . attributes only.",
  examples: ["op-dbus snapshot diff cache@2025-01-15-10:00 cache@2025-01-15-11:00"],
  flags: { target: TARGET },
  positional: {
    kind: "tuple",
    parameters: [argument("From", "NAME"), argument("To", "NAME")],
  },
  async run(context, flags, from, to) {
    const { diffSnapshots } = await import("../snapshot/diff.ts");
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const target = await findTargetFor(context, flags, from);
    const { changes, cut } = await diffSnapshots(
      findSnapshot(target, from),
      findSnapshot(target, to),
      context.signal,
    );
    if (cut) context.out.warn("there are more changes than are listed");
    context.out.result(
      { from, to, changes, cut },
      () =>
        changes.length === 0 ? "No changes" : changes.map((one) => {
          const before = one.from === null ? "" : ` (from ${one.from})`;
          return `${SIGNS[one.change]} ${one.path}${before}`;
        }).join("\n"),
    );
  },
});

interface VerifyFlags extends TargetFlag {
  readonly folder?: string;
}

/** `op-dbus snapshot verify` */
export const verify = command<VerifyFlags, [string]>({
  brief: "Read a snapshot whole; print the digest of its content",
  description:
    "The digest is the same wherever the content is the same: compare it with " +
    "that of a replica. Damage that the file system finds ends with exit code 3.",
  examples: [
    "op-dbus snapshot verify cache@2025-01-15-10:00",
    "op-dbus snapshot verify --folder /backup cache@2025-01-15-10:00",
  ],
  flags: { target: TARGET, folder: FOLDER },
  positional: { kind: "tuple", parameters: [NAME] },
  async run(context, flags, name) {
    const { digestOfFolder } = await import("../stream/disk_tree.ts");
    const { isSysError } = await import("../../ffi/errno.ts");
    const found = await findIn(context, flags, name);
    requireUntouched(found);
    try {
      const digest = await digestOfFolder(found.path, { signal: context.signal });
      context.out.result(
        { ...foundJson(found), digest },
        () => `${found.name} is whole: ${digest}`,
      );
    } catch (error) {
      if (!isSysError(error, "EIO", "EUCLEAN")) throw error;
      throw new DifferenceError("damaged", `${found.name} is damaged: ${error.message}`, {
        cause: error,
        hint: "check the disk (dmesg, btrfs scrub); restore from a replica",
      });
    }
  },
});

/** A snapshot of a target, or of a folder of received ones. */
export async function findIn(
  context: Context,
  flags: VerifyFlags,
  name: string,
): Promise<Found> {
  if (flags.folder === undefined) {
    const { findSnapshot } = await import("../snapshot/remove.ts");
    return findSnapshot(await findTargetFor(context, flags, name), name);
  }
  const { listFound } = await import("../snapshot/found.ts");
  const folder = absolute(flags.folder);
  const found = listFound({ path: "", folder, prefix: null }, true)
    .find((one) => one.name === name);
  if (found) return found;
  throw new InputError("no_snapshot", `Cannot find ${name} in ${folder}`, {
    hint: `list them with: op-dbus snapshot list --folder ${folder}`,
  });
}

function requireUntouched({ name, problem, info }: Found): void {
  const edited = info.receivedUuid !== null && info.ctransid > info.rtransid;
  const why = problem ?? (edited ? "it was changed after it was received" : null);
  if (why === null) return;
  throw new DifferenceError("not_intact", `Cannot vouch for ${name}: ${why}`, {
    hint: "compare it by hand with another copy",
  });
}
