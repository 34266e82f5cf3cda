/** op-dbus chain compact, op-dbus chain recover */
import { formatSize } from "../base/units.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import { countFlag, DRY_RUN, durationFlag, YES } from "./flags.ts";
import { openChain, openRecorder } from "./open_chain.ts";

const DEFAULT_KEPT = 1000;

interface CompactFlags {
  readonly keep?: number;
  readonly olderThan?: number;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const chainCompact = command<CompactFlags>({
  brief: "Drop the data of old blocks; headers, hashes and proofs stay",
  examples: [
    "op-dbus chain compact --dry-run",
    "op-dbus chain compact --keep 5000 --older-than 365d --yes",
  ],
  flags: {
    keep: countFlag(`Newest blocks that keep their data (default ${DEFAULT_KEPT})`),
    olderThan: durationFlag("Only blocks older than this"),
    dryRun: DRY_RUN,
    yes: YES,
  },
  async run(context, { keep, olderThan, dryRun, yes }) {
    const { compactChain, planCompaction } = await import("../chain/compact.ts");
    const { actingUser } = await import("../chain/who.ts");
    const reader = await openChain(context);
    const before = olderThan === undefined ? undefined : new Date(Date.now() - olderThan);
    const plan = await planCompaction(
      reader,
      keep ?? DEFAULT_KEPT,
      before,
      context.signal,
    );
    if (!dryRun && plan.blocks > 0) {
      const size = formatSize(plan.freedBytes);
      await confirm(
        context,
        `Drop the data (${size}) of ${plan.blocks} blocks`,
        yes ?? false,
      );
      const { ledger } = await openRecorder(context);
      await compactChain(ledger, plan, actingUser(), context.signal);
    }
    const { blocks, freedBytes, last } = plan;
    context.out.result(
      {
        blocks,
        freed_bytes: freedBytes,
        last: last < 0 ? null : last,
        dry_run: dryRun ?? false,
      },
      () =>
        `${dryRun ? "Would drop" : "Dropped"} the data of ${blocks} blocks, ${
          formatSize(freedBytes)
        }`,
    );
  },
});

export const chainRecover = command<{ yes?: boolean }>({
  brief: "Rebuild head and journal from the blocks, when those two are lost or damaged",
  description:
    "Changes nothing unless the blocks follow one another and meet every kept\n" +
    "checkpoint. What was there is set aside under @timing/torn.",
  examples: ["op-dbus chain recover --yes"],
  flags: { yes: YES },
  async run(context, { yes }) {
    const { requireRoot } = await import("../base/root.ts");
    const { recoverChain } = await import("../chain/recover.ts");
    requireRoot(context.layout.root);
    await confirm(context, "Rebuild the chain's head from its blocks", yes ?? false);
    const { blocks, notices } = await recoverChain(context.layout, context.signal);
    for (const notice of notices) context.out.warn(notice);
    context.out.result({ blocks, notices }, () => `The chain has ${blocks} blocks`);
  },
});
