/** op-dbus apply, confirm, rollback, checkpoint */
import type { ApplyResult, StateRecorder } from "../state/apply.ts";
import type { StateBlock } from "../state/rollback.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, countFlag, DRY_RUN, durationFlag, textFlag, YES } from "./flags.ts";
import { progressBar } from "./progress.ts";
import { multiLine, printable } from "./escape.ts";
import {
  choosePlugins,
  gate,
  ONLY_SAFE,
  openState,
  planText,
  PLUGIN,
  readWanted,
  TIMEOUT,
  WAIT,
} from "./state_place.ts";
import { table } from "./table.ts";

interface ChangeFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly onlySafe?: boolean;
  readonly timeout?: number;
  readonly wait?: number;
}

const CHANGE_FLAGS = {
  dryRun: DRY_RUN,
  yes: YES,
  onlySafe: ONLY_SAFE,
  timeout: TIMEOUT,
  wait: WAIT,
} as const;

/** The options of apply and rollback that are the command line's matter. */
async function changeOptions(context: Context, flags: ChangeFlags) {
  const place = await openState(context, flags.timeout);
  const bar = progressBar(context.out, "Applying", 0, "changes");
  context.onClose(() => bar.stop());
  return {
    ...place,
    layout: context.layout,
    signal: context.signal,
    confirm: gate(context, flags.yes ?? false),
    progress: (done: number, total: number) => bar.update(done, total),
    ...(flags.dryRun ? { dryRun: true } : { recorder: stateRecorder(context) }),
    ...(flags.onlySafe && { onlySafe: true }),
    ...(flags.wait !== undefined && { waitMs: flags.wait }),
  };
}

/** Notes a change in the audit chain, with the state that it set. */
function stateRecorder(context: Context): StateRecorder {
  return {
    async record(action, state) {
      // Opened only now: most applies change nothing.
      const { openRecorder } = await import("./open_chain.ts");
      const chain = await openRecorder(context);
      await chain.append(action, state);
    },
  };
}

function report(
  { out }: Context,
  result: ApplyResult,
  dryRun: boolean,
  leftOut?: readonly string[],
): void {
  const { plan, applied, skipped, checkpoint, confirmed } = result;
  const value = {
    applied,
    skipped,
    checkpoint,
    confirmed,
    dry_run: dryRun,
    changes: plan.changes,
    ...(leftOut && { left_out: leftOut }),
  };
  out.result(value, () => {
    if (dryRun || plan.changes.length === 0) return planText(out, plan);
    const lines = applied.map((id) => `${out.style("green", "done")}  ${printable(id)}`);
    const left = skipped.map((id) => `${out.style("yellow", "left")}  ${printable(id)}`);
    const back = checkpoint
      ? [`Undo with: op-dbus rollback --to-checkpoint ${checkpoint}`]
      : [];
    return [...lines, ...left, ...back].join("\n");
  });
}

interface ApplyFlags extends ChangeFlags {
  readonly plugin?: string;
  readonly confirmWithin?: number;
}

/** `op-dbus apply` */
export const apply = command<ApplyFlags, [string]>({
  brief: "Make the host as a state file or a saved plan says, or undo what was begun",
  description:
    "Ends with 6 when something failed and what had been done was undone, with 4 " +
    "when a yes is\nneeded and nobody can give it.",
  examples: [
    "op-dbus apply state.json --dry-run",
    "op-dbus apply state.json --plugin lxc",
    "op-dbus apply state.json --yes --confirm-within 60s",
    "op-dbus apply plan.json --yes",
  ],
  flags: {
    ...CHANGE_FLAGS,
    plugin: PLUGIN,
    confirmWithin: durationFlag(
      "Revert unless `op-dbus confirm` is run within this time",
    ),
  },
  positional: {
    kind: "tuple",
    parameters: [argument("State file or plan", "STATE.json")],
  },
  async run(context, flags, file) {
    const { apply } = await import("../state/apply.ts");
    const options = await changeOptions(context, flags);
    // A firewall rule may cut the very session that applies it.
    context.survivesHangUp = flags.confirmWithin !== undefined;
    const wanted = await readWanted(file, options, flags.plugin);
    const result = await apply(wanted, {
      ...options,
      file,
      ...(flags.confirmWithin !== undefined && { confirmWithinMs: flags.confirmWithin }),
      awaiting: (_checkpoint, until) =>
        context.out.note(
          `Done. Reverts at ${until.toISOString()} unless you run: op-dbus confirm`,
        ),
    });
    report(context, result, flags.dryRun ?? false);
  },
});

/** `op-dbus confirm` */
export const confirm = command({
  brief: "Keep the changes of an apply that waits with --confirm-within",
  examples: ["op-dbus confirm"],
  flags: {},
  async run({ layout, out }) {
    const { requireRoot } = await import("../base/root.ts");
    const { confirmPending } = await import("../state/journal.ts");
    requireRoot(layout.root);
    const { checkpoint, changes } = confirmPending(layout);
    out.result({ checkpoint, changes }, () => `Kept ${changes.length} changes`);
  },
});

interface RollbackFlags extends ChangeFlags {
  readonly toCheckpoint?: string;
  readonly toBlock?: number;
}

/** `op-dbus rollback` */
export const rollback = command<RollbackFlags>({
  brief:
    "Bring back the state before an apply: a checkpoint's, or that of a block's time",
  examples: [
    "op-dbus rollback --to-checkpoint latest",
    "op-dbus rollback --to-block 41 --dry-run",
  ],
  flags: {
    ...CHANGE_FLAGS,
    toCheckpoint: textFlag("Checkpoint; latest is the one made last", "ID"),
    toBlock: countFlag("Block of the audit chain", "N"),
  },
  async run(context, flags) {
    const { InputError } = await import("../base/errors.ts");
    const { toBlock, toCheckpoint } = flags;
    if ((toBlock === undefined) === (toCheckpoint === undefined)) {
      throw new InputError("usage", "Say where to: --to-checkpoint ID or --to-block N", {
        hint: "see them: op-dbus checkpoint list, op-dbus chain list",
      });
    }
    const state = await import("../state/rollback.ts");
    const options = await changeOptions(context, flags);
    const result = toBlock === undefined
      ? await state.rollbackToCheckpoint(toCheckpoint!, options)
      : await state.rollbackToBlock(
        toBlock,
        await blocksAfter(context, toBlock),
        options,
      );
    if (result.leftOut.length > 0) {
      context.out.warn(`not brought back, or not exactly: ${result.leftOut.join("; ")}`);
    }
    report(context, result, flags.dryRun ?? false, result.leftOut);
    const missing = result.plan.changes.filter(({ action }) => action === "unknown")
      .map(({ id, reason }) => `${id} (${reason})`).concat(result.lost);
    if (missing.length === 0) return;
    const what = missing.join("; ");
    const { OpError } = await import("../base/errors.ts");
    throw new OpError("rolled_back_in_part", `Cannot bring back ${what}`, {
      hint: "everything else is as it was; see above",
    });
  },
});

/** The chain's state blocks after one. */
async function blocksAfter(context: Context, number: number) {
  const { openChain } = await import("./open_chain.ts");
  const chain = await openChain(context);
  chain.readRaw(number);
  const blocks: StateBlock[] = [];
  for await (const block of chain.blocks(number + 1, chain.size, context.signal)) {
    const { category, action, what } = block.header;
    if (category !== "state") continue;
    blocks.push({
      number: block.header.number,
      category,
      action,
      subject: what,
      data: block.data ?? {},
    });
  }
  return blocks;
}

const create = command<{ plugin?: string; reason?: string; timeout?: number }>({
  brief: "Keep the whole present state, to come back to",
  examples: ["op-dbus checkpoint create --reason 'before the upgrade'"],
  flags: {
    plugin: PLUGIN,
    reason: textFlag("What for", "TEXT"),
    timeout: TIMEOUT,
  },
  async run(context, flags) {
    const { createCheckpoint } = await import("../state/checkpoint.ts");
    const place = await openState(context, flags.timeout);
    const plugins = await choosePlugins(place, flags.plugin);
    const made = await createCheckpoint(context.layout, plugins, place.buses, {
      signal: context.signal,
      ...(flags.reason !== undefined && { reason: flags.reason }),
    });
    context.out.result(made, () =>
      [
        made.id,
        ...made.left_out.map((name) => `  left out: ${name} (read only or unknown)`),
      ].join("\n"));
  },
});

const list = command({
  brief: "List the checkpoints, the newest last",
  examples: ["op-dbus checkpoint list"],
  flags: {},
  async run({ layout, out }) {
    const { requireRoot } = await import("../base/root.ts");
    const { listCheckpoints } = await import("../state/checkpoint.ts");
    requireRoot(layout.root);
    const told = ({ message }: Error) => out.warn(message);
    const checkpoints = listCheckpoints(layout, told).map((
      { id, time, reason, plugins },
    ) => ({
      id,
      time,
      reason,
      plugins: Object.keys(plugins),
    }));
    out.result({ checkpoints }, () =>
      checkpoints.length === 0 ? "No checkpoints" : table(
        ["ID", "TIME", "REASON", "PLUGINS"],
        checkpoints.map((c) => [c.id, c.time, c.reason, c.plugins.join(", ")]),
      ));
  },
});

const show = command<object, [string]>({
  brief: "Show what a checkpoint brings back",
  examples: ["op-dbus checkpoint show latest"],
  flags: {},
  positional: { kind: "tuple", parameters: [argument("Checkpoint, or latest", "ID")] },
  async run({ layout, out }, _flags, id) {
    const { requireRoot } = await import("../base/root.ts");
    const { readCheckpoint } = await import("../state/checkpoint.ts");
    requireRoot(layout.root);
    const checkpoint = readCheckpoint(layout, id);
    out.result(checkpoint, () => multiLine(JSON.stringify(checkpoint, null, 2)));
  },
});

/** `op-dbus checkpoint` */
export const checkpoint = group("Keep states to come back to", { create, list, show });
