/** op-dbus snapshot replicate */
import type { Config } from "../base/config.ts";
import { InputError, OpError } from "../base/errors.ts";
import type { Replicated, ReplicateOptions } from "../snapshot/replicate.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, textFlag, toggle } from "./flags.ts";
import { findTargets, lazyRecorder, lockOptions, WAIT } from "./snapshot_common.ts";
import {
  FULL,
  LIMIT,
  NO_VERIFY,
  openReplicas,
  REMOTE_COMMAND,
  reportReplicated,
  sendProgress,
  TO,
} from "./snapshot_send.ts";

interface ReplicateFlags {
  readonly to?: readonly string[];
  readonly policy?: string;
  readonly remotePolicy?: string;
  readonly skipCreate?: boolean;
  readonly skipPrune?: boolean;
  readonly skipVerify?: boolean;
  readonly full?: boolean;
  readonly limit?: number;
  readonly remoteCommand?: string;
  readonly wait?: number;
}

/** `op-dbus snapshot replicate` */
export const replicate = command<ReplicateFlags, string[]>({
  brief: "Snapshot, send to every replica, prune on both sides",
  description:
    "Made for cron. Replicas come from --to or from [snapshot.replicas.NAME] in " +
    "the config. One that is away is brought up to date by a later run.",
  examples: [
    "op-dbus snapshot replicate --to /mnt/backup --remote-policy keep_daily=30",
    "op-dbus snapshot replicate cache state --to ssh://root@nas/srv/backup --quiet",
  ],
  flags: {
    to: { ...TO, optional: true },
    policy: textFlag("Rules here instead of the configured ones", "RULES"),
    remotePolicy: textFlag("Rules there (default: nothing is deleted there)", "RULES"),
    skipCreate: toggle("Send what there is; take no snapshot"),
    skipPrune: toggle("Delete nothing here"),
    skipVerify: NO_VERIFY,
    full: FULL,
    limit: LIMIT,
    remoteCommand: REMOTE_COMMAND,
    wait: WAIT,
  },
  positional: {
    kind: "array",
    parameter: argument(
      "What to replicate (default: snapshot.default_targets)",
      "TARGET",
    ),
  },
  async run(context, flags, ...names) {
    const places = placesOf(context.config, flags, names);
    const done: Replicated[] = [];
    for (const [i, place] of places.entries()) {
      // The snapshot is taken once, before the first place; later ones get the same.
      const later = i > 0 && place.targets === undefined;
      done.push(...await replicateTo(context, flags, names, place, later));
    }
    reportReplicated(context, done);
  },
});

/** Replicas that go together in one pass. */
interface Place {
  readonly to: readonly string[];
  readonly targets?: readonly string[];
  readonly remotePolicy?: string;
  readonly command?: string;
  readonly limit?: number;
  readonly verify: boolean;
}

function placesOf(
  config: Config,
  flags: ReplicateFlags,
  names: readonly string[],
): Place[] {
  const verify = !flags.skipVerify;
  if (flags.to && flags.to.length > 0) {
    return [{
      to: flags.to,
      verify,
      ...(flags.remotePolicy !== undefined && { remotePolicy: flags.remotePolicy }),
      ...(flags.remoteCommand !== undefined && { command: flags.remoteCommand }),
      ...(flags.limit !== undefined && { limit: flags.limit }),
    }];
  }
  const rows = [...config.table("snapshot.replicas")];
  if (rows.length === 0) {
    throw new InputError("no_replica", "Cannot replicate: no place is named", {
      hint: "name it with --to, or under [snapshot.replicas.NAME] in the config",
    });
  }
  return rows.filter(([, row]) =>
    names.length === 0 || row.targets.length === 0 ||
    row.targets.some((target) => names.includes(target))
  ).map(([, row]) => ({
    to: [row.to],
    verify: verify && row.verify,
    ...(row.targets.length > 0 && { targets: row.targets }),
    ...(row.policy !== "" && { remotePolicy: `@${row.policy}` }),
    ...(row.command !== "" && { command: row.command }),
    ...((flags.limit ?? row.limit) > 0 && { limit: flags.limit ?? row.limit }),
  }));
}

async function replicateTo(
  context: Context,
  flags: ReplicateFlags,
  names: readonly string[],
  place: Place,
  later: boolean,
): Promise<Replicated[]> {
  const { replicate } = await import("../snapshot/replicate.ts");
  const { parsePolicy, policyOf } = await import("../snapshot/policy.ts");
  const { config } = context;
  const chosen = names.length > 0 ? names : place.targets ?? [];
  using progress = sendProgress(context);
  const done: Replicated[] = [];
  for (const target of await findTargets(context, chosen)) {
    const replicas = await openReplicas(context, place.to, place.command, target);
    const rules = place.remotePolicy;
    const options: ReplicateOptions = {
      ...lockOptions(context, flags.wait),
      create: !flags.skipCreate && !later,
      full: flags.full ?? false,
      verify: place.verify,
      ...(place.limit !== undefined && { limit: place.limit }),
      ...(!flags.skipPrune && {
        policy: flags.policy === undefined
          ? policyOf(target, config)
          : parsePolicy(flags.policy),
      }),
      ...(rules !== undefined && {
        remotePolicy: rules.startsWith("@")
          ? policyOf({ name: target.name, policy: rules.slice(1) }, config)
          : parsePolicy(rules),
      }),
      recorder: lazyRecorder(context),
      ...progress.option,
    };
    try {
      done.push(await replicate(target, replicas, options));
    } catch (error) {
      if (!(error instanceof OpError) || names.length === 1) throw error;
      if (context.signal.aborted) throw error;
      context.out.warn(error.message);
      done.push({
        target: target.name,
        created: null,
        outcomes: [{ replica: place.to.join(", "), sent: [], deleted: [], error }],
        pruned: null,
        notes: [],
      });
    }
  }
  return done;
}
