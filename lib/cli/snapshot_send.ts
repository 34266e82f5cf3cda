/** op-dbus snapshot send, receive */
import { asOpError, InputError, OpError } from "../base/errors.ts";
import { formatSize } from "../base/units.ts";
import type { Found } from "../snapshot/found.ts";
import type { Replicated } from "../snapshot/replicate.ts";
import type { Replica } from "../snapshot/replica.ts";
import type { Target } from "../snapshot/target.ts";
import { absolute, inputFile } from "./absolute.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, sizeFlag, textFlag, toggle } from "./flags.ts";
import { type Progress, progressBar } from "./progress.ts";
import {
  findTargetFor,
  foundJson,
  lockOptions,
  TARGET,
  type TargetFlag,
  tellNotes,
  WAIT,
} from "./snapshot_common.ts";

/** Where to, once or several times. */
export const TO = {
  kind: "parsed",
  parse: (text: string) => text,
  brief: "A folder on btrfs, ssh://user@host/path, a file, or - for standard output",
  placeholder: "PLACE",
  variadic: true,
} as const;
export const LIMIT = sizeFlag("Bytes per second at most (0: as fast as it goes)");
export const REMOTE_COMMAND = textFlag(
  "The command over there (sudo -n op-dbus)",
  "COMMAND",
);
export const FULL = toggle("In full, although both sides have one in common");
export const NO_VERIFY = toggle(
  "Do not compare contents afterwards (plain btrfs over ssh is read back for it)",
);

interface SendFlags extends TargetFlag {
  readonly to: readonly string[];
  readonly parent?: string;
  readonly full?: boolean;
  readonly limit?: number;
  readonly skipVerify?: boolean;
  readonly remoteCommand?: string;
  readonly force?: boolean;
  readonly wait?: number;
}

/** `op-dbus snapshot send` */
export const send = command<SendFlags, [string]>({
  brief: "Send a snapshot, and what the other side lacks before it",
  description:
    "As differences to the newest snapshot that both sides have, else in full. " +
    "Over ssh the other side is op-dbus or plain btrfs receive; what that received is " +
    "read back in full to compare it, unless --skip-verify. A new file is one whose " +
    "name ends in .btrfs, .stream or .zst (compressed); an interrupted one is " +
    "continued. Any other new place is a folder.",
  examples: [
    "op-dbus snapshot send cache@2025-01-15-10:00 --to /mnt/backup",
    "op-dbus snapshot send cache@2025-01-15-10:00 --to ssh://root@nas/srv/backup",
    "op-dbus snapshot send cache@2025-01-15-10:00 --to cache.btrfs.zst",
  ],
  flags: {
    target: TARGET,
    to: TO,
    parent: textFlag(
      "Only as the difference to this one (file, standard output)",
      "NAME",
    ),
    full: FULL,
    limit: LIMIT,
    skipVerify: NO_VERIFY,
    remoteCommand: REMOTE_COMMAND,
    force: toggle("Replace a file that is there"),
    wait: WAIT,
  },
  positional: {
    kind: "tuple",
    parameters: [argument("Name of the snapshot", "NAME")],
  },
  async run(context, flags, name) {
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const target = await findTargetFor(context, flags, name);
    const found = findSnapshot(target, name), [place] = flags.to;
    if (flags.to.length === 1 && place === "-") {
      return await sendToStdout(context, target, found, flags);
    }
    const kinds = flags.to.map((one) => ({ one, file: isFilePlace(one) }));
    if (flags.to.length === 1 && kinds[0]!.file) {
      return await sendFile(context, target, found, flags, place!);
    }
    if (flags.parent !== undefined) {
      throw new InputError("usage", "Cannot choose the parent for a folder or a host", {
        hint: "it is the newest snapshot that both sides have; --full for none",
      });
    }
    const file = kinds.find((kind) => kind.file);
    if (file) {
      throw new InputError("usage", `Cannot send to ${file.one} and to others at once`, {
        hint: "send to a file, or to standard output, by itself; folders and hosts go " +
          "together",
      });
    }
    const replicas = await openReplicas(context, flags.to, flags.remoteCommand, target);
    const { replicate } = await import("../snapshot/replicate.ts");
    using progress = sendProgress(context);
    const done = await replicate(target, replicas, {
      ...lockOptions(context, flags.wait),
      create: false,
      only: found.name,
      full: flags.full ?? false,
      verify: !flags.skipVerify,
      ...(flags.limit !== undefined && { limit: flags.limit }),
      ...progress.option,
    });
    reportReplicated(context, [done]);
  },
});

/** A progress bar that follows one snapshot after the other. */
export function sendProgress(context: Context) {
  let bar: Progress | null = null, current = "";
  const tell = (name: string, bytes: number, estimate: number) => {
    if (name !== current) {
      bar?.stop();
      bar = progressBar(context.out, `Sending ${name}`, estimate, "bytes");
      current = name;
    }
    bar?.update(bytes, Math.max(bytes, estimate));
  };
  const shown = context.out.options.progress;
  return {
    shown,
    tell,
    /** For who makes an estimate only where somebody will see it. */
    option: shown ? { progress: tell } : {},
    [Symbol.dispose]() {
      bar?.stop();
    },
  };
}

/** A place that is a file: no host, no folder. */
function isFilePlace(place: string): boolean {
  if (place === "-") return true;
  if (place.startsWith("ssh://") || place.endsWith("/")) return false;
  try {
    return !Deno.statSync(place).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return /\.(btrfs|zst|stream)$/.test(place);
    throw error;
  }
}

/**
 * The receiving sides behind some places. One that is away (a host that is down, a disk
 * that is not mounted) fails when it is asked for something, by itself.
 *
 * @throws {InputError} `bad_url`
 */
export async function openReplicas(
  context: Context,
  places: readonly string[],
  remoteCommand: string | undefined,
  { path: source }: Target,
): Promise<Replica[]> {
  const { awayReplica } = await import("../snapshot/replica.ts");
  const command = remoteCommand?.split(/\s+/).filter(Boolean);
  const config = context.config.get("snapshot.ssh_config");
  return await Promise.all(places.map(async (given) => {
    const place = given.replace(/\/+$/, "") || "/";
    try {
      if (!place.startsWith("ssh://")) {
        const { folderReplica, wouldBeBeside } = await import(
          "../snapshot/replica_folder.ts"
        );
        const folder = absolute(place), replica = folderReplica(folder);
        if (wouldBeBeside(folder, source)) context.out.warn(beside(folder));
        return replica;
      }
      const { sshReplica } = await import("../snapshot/replica_ssh.ts");
      return await sshReplica(place, {
        ...(command && { command }),
        ...(command?.at(-1)?.endsWith("btrfs") && { remote: "btrfs" as const }),
        ...(config !== "" && { program: ["ssh", "-F", config] }),
        signal: context.signal,
      });
    } catch (error) {
      if (!(error instanceof OpError) || error.code === "bad_url") throw error;
      if (context.signal.aborted) throw error;
      return awayReplica(place, error);
    }
  }));
}

function beside(folder: string): string {
  return `${folder} is made on the file system that it is to be a copy of: ` +
    "is the disk for it mounted?";
}

/** Prints what replications did; fails with the first error of any side. */
export function reportReplicated(context: Context, all: readonly Replicated[]): void {
  const outcomes = all.flatMap((one) =>
    one.outcomes.map((o) => ({ ...o, target: one.target }))
  );
  for (const { notes } of all) tellNotes(context, notes);
  const failed = outcomes.flatMap(({ error }) => error === null ? [] : [error]);
  const json = all.map(({ target, created, outcomes, pruned }) => ({
    target,
    created: created?.name ?? null,
    pruned: pruned?.deleted ?? [],
    replicas: outcomes.map(({ replica, sent, deleted, error }) => ({
      replica,
      sent,
      deleted,
      error: error === null ? null : { code: error.code, message: error.message },
    })),
  }));
  if (context.out.json || !context.out.options.quiet) {
    context.out.result(
      { replications: json },
      () =>
        outcomes.filter(({ error }) => error === null).map(
          ({ replica, sent, deleted }) => {
            const list = sent.map(({ name, parent, bytes, verified }) => {
              const how = parent === null ? "in full" : `as a difference to ${parent}`;
              return `sent ${name} to ${replica} ${how}, ${formatSize(bytes)}` +
                (verified ? ", contents equal" : "");
            });
            if (sent.length === 0) list.push(`${replica} has everything already`);
            if (deleted.length > 0) list.push(`deleted ${deleted.length} at ${replica}`);
            return list.join("\n");
          },
        ).join("\n"),
    );
  }
  for (const other of failed.slice(1)) context.out.warn(other.message);
  if (failed[0]) throw failed[0];
}

async function parentPath(target: Target, flags: SendFlags): Promise<string | undefined> {
  if (flags.parent === undefined) return undefined;
  const { findSnapshot } = await import("../snapshot/remove.ts");
  return findSnapshot(target, flags.parent).path;
}

async function sendToStdout(
  context: Context,
  target: Target,
  found: Found,
  flags: SendFlags,
): Promise<void> {
  if (Deno.stdout.isTerminal()) {
    throw new InputError("terminal", "Cannot send a stream to a terminal", {
      hint: "redirect it: op-dbus snapshot send NAME --to - > FILE",
    });
  }
  const { sendChunks, sendToFd } = await import("../stream/send.ts");
  const { paced } = await import("../snapshot/pace.ts");
  const { estimateSend } = await import("../snapshot/diff.ts");
  const parent = await parentPath(target, flags), { signal } = context;
  const options = { ...(parent !== undefined && { parent }), signal };
  using progress = sendProgress(context);
  // Straight from the kernel, where nobody wants to see it pass.
  if (!flags.limit && !progress.shown) return await sendToFd(found.path, 1, options);
  const estimate = progress.shown
    ? await estimateSend(found.path, parent ?? null, signal)
    : 0;
  const chunks = paced(sendChunks(found.path, options), {
    ...(flags.limit !== undefined && { limit: flags.limit }),
    signal,
    progress: (bytes) => progress.tell(found.name, bytes, estimate),
  });
  for await (const chunk of chunks) await writeWhole(chunk, found);
}

/**
 * Writes to standard output, off the main thread: a slow reader stops no bar, no Ctrl-C.
 * A reader that leaves is an error here: what it has is no whole stream.
 */
async function writeWhole(chunk: Uint8Array, { path }: Found): Promise<void> {
  try {
    for (let done = 0; done < chunk.length;) {
      done += await Deno.stdout.write(chunk.subarray(done));
    }
  } catch (error) {
    throw asOpError(error, `Cannot send ${path} to standard output`);
  }
}

const FILE_ZSTD_LEVEL = 3;

async function sendFile(
  context: Context,
  target: Target,
  found: Found,
  flags: SendFlags,
  place: string,
): Promise<void> {
  const { sendToFile } = await import("../snapshot/send_file.ts");
  const { estimateSend } = await import("../snapshot/diff.ts");
  const parent = await parentPath(target, flags);
  using progress = sendProgress(context);
  const estimate = progress.shown
    ? await estimateSend(found.path, parent ?? null, context.signal)
    : 0;
  const done = await sendToFile(found.path, absolute(place), {
    ...(parent !== undefined && { parent }),
    ...(place.endsWith(".zst") && { zstdLevel: FILE_ZSTD_LEVEL }),
    ...(flags.limit !== undefined && { limit: flags.limit }),
    ...(flags.force && { force: true }),
    signal: context.signal,
    progress: (bytes) => progress.tell(found.name, bytes, estimate),
  });
  const resumed = done.resumedBytes > 0
    ? `, ${formatSize(done.resumedBytes)} of it were there`
    : "";
  context.out.result(
    {
      name: found.name,
      path: done.path,
      size_bytes: done.sizeBytes,
      resumed_bytes: done.resumedBytes,
    },
    () => `Sent ${found.name} to ${done.path}, ${formatSize(done.sizeBytes)}${resumed}`,
  );
}

interface ReceiveFlags {
  readonly folder: string;
  readonly name?: string;
}

/** `op-dbus snapshot receive` */
export const receive = command<ReceiveFlags, [string?]>({
  brief: "Receive a snapshot from a file or standard input",
  description:
    "Compressed or not. It becomes visible when it is whole, synced and marked " +
    "as received; whatever fails leaves nothing behind.",
  examples: [
    "op-dbus snapshot receive --folder /mnt/backup < cache.btrfs.zst",
    "op-dbus snapshot receive --folder /mnt/backup cache.btrfs.zst",
  ],
  flags: {
    folder: {
      kind: "parsed",
      parse: (text: string) => text,
      brief: "The folder that it goes into, on btrfs",
      placeholder: "DIR",
    },
    name: textFlag("Its name there (default: as it was called)", "NAME"),
  },
  positional: {
    kind: "tuple",
    parameters: [
      { ...argument("File (default: standard input)", "FILE"), optional: true },
    ],
  },
  async run(context, flags, file) {
    const { receiveSnapshot } = await import("../snapshot/receive.ts");
    const found = await receiveSnapshot(absolute(flags.folder), {
      ...(flags.name !== undefined && { name: flags.name }),
      ...(file !== undefined && file !== "-"
        ? { file: inputFile(file) }
        : { chunks: Deno.stdin.readable }),
      signal: context.signal,
    });
    context.out.result(foundJson(found), () => `Received ${found.path}`);
  },
});
