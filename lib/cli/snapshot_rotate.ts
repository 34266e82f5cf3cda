/** op-dbus snapshot rotate, prune, plan */
import { OpError } from "../base/errors.ts";
import type { Policy } from "../snapshot/policy.ts";
import type { Rotated } from "../snapshot/rotate.ts";
import type { Target } from "../snapshot/target.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { argument, DRY_RUN, durationFlag, textFlag, toggle, YES } from "./flags.ts";
import {
  findTargets,
  lazyRecorder,
  lockOptions,
  tellNotes,
  WAIT,
} from "./snapshot_common.ts";
import { timeline } from "./snapshot_timeline.ts";
import { table } from "./table.ts";

const TARGETS = {
  kind: "array",
  parameter: argument("What to rotate (default: snapshot.default_targets)", "TARGET"),
} as const;
const ALL = toggle("Every target there is");
const EXPLAIN = toggle("Say of every snapshot why it stays or goes");
const POLICY = textFlag(
  "Rules instead of the configured ones: keep_last=24,...",
  "RULES",
);

interface PruneFlags {
  readonly all?: boolean;
  readonly policy?: string;
  readonly dryRun?: boolean;
  readonly explain?: boolean;
  readonly wait?: number;
}

interface RotateFlags extends PruneFlags {
  readonly allowNested?: boolean;
}

/** `op-dbus snapshot rotate` */
export const rotate = command<RotateFlags, string[]>({
  brief: "Take a snapshot, then delete what the policy does not keep",
  description:
    "Made for cron: it asks nothing, and with --quiet it says nothing unless it " +
    "fails. The default policy keeps the last 24.",
  examples: [
    "op-dbus snapshot rotate",
    "op-dbus snapshot rotate cache state --dry-run --explain",
    "op-dbus snapshot rotate --quiet --wait 60s",
  ],
  flags: {
    all: ALL,
    policy: POLICY,
    allowNested: toggle("Also when nested subvolumes will be missing"),
    dryRun: DRY_RUN,
    explain: EXPLAIN,
    wait: WAIT,
  },
  positional: TARGETS,
  async run(context, flags, ...names) {
    const { rotate } = await import("../snapshot/rotate.ts");
    await overTargets(
      context,
      flags,
      names,
      async (target, policy) =>
        await rotate(target, policy, {
          ...lockOptions(context, flags.wait),
          dryRun: flags.dryRun ?? false,
          ...(flags.allowNested && { allowNested: true }),
          recorder: lazyRecorder(context),
        }),
    );
  },
});

/** `op-dbus snapshot prune` */
export const prune = command<PruneFlags & { yes?: boolean }, string[]>({
  brief: "Delete what the policy does not keep",
  examples: ["op-dbus snapshot prune --dry-run", "op-dbus snapshot prune cache --yes"],
  flags: {
    all: ALL,
    policy: POLICY,
    dryRun: DRY_RUN,
    explain: EXPLAIN,
    wait: WAIT,
    yes: YES,
  },
  positional: TARGETS,
  async run(context, flags, ...names) {
    const { prune } = await import("../snapshot/rotate.ts");
    await overTargets(context, flags, names, async (target, policy) => {
      const options = {
        ...lockOptions(context, flags.wait),
        recorder: lazyRecorder(context),
      };
      if (flags.dryRun) return await prune(target, policy, { ...options, dryRun: true });
      const dry = await prune(target, policy, { ...options, dryRun: true });
      const agreed = new Set([...dry.deleted, ...dry.whileShort ?? []]);
      if (agreed.size > 0) {
        await confirm(context, question(target, dry), flags.yes ?? false);
      }
      return await prune(target, policy, { ...options, agreed });
    });
  },
});

function question({ name }: Target, { deleted, whileShort = [] }: Rotated): string {
  const parts = [
    ...(deleted.length > 0
      ? [`${deleted.length} snapshots of ${name}: ${deleted.join(", ")}`]
      : []),
    ...(whileShort.length > 0
      ? [`while space is short, of ${name}: ${whileShort.join(", ")}`]
      : []),
  ];
  return `Delete ${parts.join("; and ")}`;
}

type Work = (target: Target, policy: Policy) => Promise<Rotated>;

/** Runs over targets; one that fails does not stop the others, and is the exit code. */
async function overTargets(
  context: Context,
  flags: PruneFlags,
  names: readonly string[],
  work: Work,
): Promise<void> {
  const { parsePolicy, policyOf } = await import("../snapshot/policy.ts");
  const done: Rotated[] = [];
  let failure: OpError | undefined;
  for (const target of await findTargets(context, names, flags.all)) {
    try {
      const policy = flags.policy === undefined
        ? policyOf(target, context.config)
        : parsePolicy(flags.policy);
      const rotated = await work(target, policy);
      done.push(rotated);
      tellNotes(context, rotated.notes);
    } catch (error) {
      if (!(error instanceof OpError) || context.signal.aborted) throw error;
      if (failure) context.out.warn(error.message);
      failure ??= error;
    }
  }
  if (failure && done.length === 0) throw failure;
  const shown = () => done.map((one) => text(one, flags)).join("\n");
  if (!context.out.options.quiet || context.out.json) {
    context.out.result({ rotations: done.map((one) => json(one, flags)) }, shown);
  }
  if (failure) throw failure;
}

function json(rotated: Rotated, flags: PruneFlags) {
  return {
    target: rotated.target,
    created: rotated.created?.name ?? null,
    dry_run: flags.dryRun ?? false,
    deleted: rotated.deleted,
    decisions: rotated.decisions.map(({ name, timeMs, action, reasons }) => ({
      name,
      time: timeMs === null ? null : new Date(timeMs).toISOString(),
      action,
      reasons,
    })),
    notes: rotated.notes,
  };
}

function text(rotated: Rotated, flags: PruneFlags): string {
  const { target, created, deleted, decisions } = rotated;
  const would = flags.dryRun ? "would delete" : "deleted";
  const parts = [
    ...(created ? [`created ${created.name}`] : []),
    `${would} ${deleted.length}`,
    `${flags.dryRun ? "would keep" : "kept"} ${decisions.length - deleted.length}`,
  ];
  const line = `${target}: ${parts.join(", ")}`;
  if (!flags.explain) return line;
  const gone = new Set(deleted);
  const rows = decisions.map(({ name, action, reasons }) => [
    name,
    gone.has(name) ? "delete" : action,
    reasons.map(({ rule, detail }) => rule === "none" ? detail : `${rule}: ${detail}`)
      .join("; "),
  ]);
  return rows.length === 0 ? line : `${line}\n${table(["NAME", "", "WHY"], rows)}`;
}

interface PlanFlags {
  readonly policy?: string;
  readonly every?: number;
  readonly for?: number;
  readonly target?: string;
}

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

/** `op-dbus snapshot plan` */
export const plan = command<PlanFlags>({
  brief: "Draw which snapshots a policy would leave over time",
  examples: [
    "op-dbus snapshot plan --policy keep_hourly=24,keep_daily=7 --every 1h --for 30d",
    "op-dbus snapshot plan --target cache --for 2y",
  ],
  flags: {
    policy: POLICY,
    target: textFlag("The policy of this target", "TARGET"),
    every: durationFlag("Time between rotations (default 1h)"),
    for: durationFlag("How long they go on (default 1y)"),
  },
  async run(context, flags) {
    const { simulate } = await import("../snapshot/simulate.ts");
    const { parsePolicy, policyOf } = await import("../snapshot/policy.ts");
    const name = flags.target ?? "cache";
    const policy = flags.policy === undefined
      ? policyOf(
        (await import("../snapshot/target.ts")).findTarget(
          context.layout,
          context.config,
          name,
        ),
        context.config,
      )
      : parsePolicy(flags.policy);
    const what = {
      policy,
      everyMs: flags.every ?? HOUR_MS,
      forMs: flags.for ?? YEAR_MS,
      startMs: Math.floor(Date.now() / HOUR_MS) * HOUR_MS,
    };
    const { runs, most, steps } = simulate(what);
    const json = steps.map(({ timeMs, existMs }) => ({
      time: new Date(timeMs).toISOString(),
      exist: existMs.map((at) => new Date(at).toISOString()),
    }));
    context.out.result({ runs, most, steps: json }, () => {
      const lines = steps.map(({ timeMs, existMs }) => {
        const count = String(existMs.length).padStart(4);
        const day = new Date(timeMs).toISOString().slice(0, 10);
        return `${day} ${count}  ${timeline([what.startMs, ...existMs], timeMs, 60)}`;
      });
      return `${lines.join("\n")}\n\n${runs} rotations, ${most} snapshots at most`;
    });
  },
});
