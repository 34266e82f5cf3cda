/** op-dbus snapshot list */
import { formatAge, formatSize } from "../base/units.ts";
import type { Described } from "../snapshot/describe.ts";
import { absolute } from "./absolute.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import {
  findTargetFor,
  FOLDER,
  foundJson,
  TARGET,
  type TargetFlag,
} from "./snapshot_common.ts";
import { labelledTimeline } from "./snapshot_timeline.ts";
import { table } from "./table.ts";

interface ListFlags extends TargetFlag {
  readonly folder?: string;
}

/** `op-dbus snapshot list` */
export const list = command<ListFlags>({
  brief: "List the snapshots, oldest first",
  description: "Sizes are shown where quotas are on; they are never switched on for it.",
  examples: ["op-dbus snapshot list", "op-dbus snapshot list --target state --json"],
  flags: { target: TARGET, folder: FOLDER },
  async run(context, flags) {
    const nowMs = Date.now(), described = await look(context, flags, nowMs);
    const snapshots = described.map(({ found, size, reasons, next }) => ({
      ...foundJson(found),
      referenced_bytes: size?.referencedBytes ?? null,
      exclusive_bytes: size?.exclusiveBytes ?? null,
      next,
      reasons,
    }));
    context.out.result({ snapshots }, () => text(described, nowMs));
  },
});

async function look(
  context: Context,
  flags: ListFlags,
  nowMs: number,
): Promise<Described[]> {
  const { describe } = await import("../snapshot/describe.ts");
  const { listFound } = await import("../snapshot/found.ts");
  if (flags.folder !== undefined) {
    const folder = absolute(flags.folder);
    return describe(
      folder,
      listFound({ path: "", folder, prefix: null }, true),
      null,
      nowMs,
    );
  }
  const { policyOf } = await import("../snapshot/policy.ts");
  const target = await findTargetFor(context, flags);
  const policy = policyOf(target, context.config);
  return describe(target.folder, listFound(target), policy, nowMs);
}

function text(described: readonly Described[], nowMs: number): string {
  if (described.length === 0) return "No snapshots";
  const sized = described.some(({ size }) => size !== null);
  const rows = described.map(({ found, size, reasons, next }) => [
    found.name,
    found.timeMs === null ? "?" : formatAge(nowMs - found.timeMs),
    ...(sized
      ? [
        size ? formatSize(size.exclusiveBytes) : "?",
        size ? formatSize(size.referencedBytes) : "?",
      ]
      : []),
    found.holds.map(({ tag }) => tag).join(", "),
    found.problem ?? why(next, reasons),
  ]);
  const sizes = sized ? ["EXCLUSIVE", "REFERENCED"] : [];
  const right = sized ? [1, 2, 3] : [1];
  const times = described.flatMap(({ found }) => found.timeMs ?? []);
  return [
    table(["NAME", "AGE", ...sizes, "HELD", "WHY"], rows, right),
    "",
    labelledTimeline(times, nowMs),
  ].join("\n").trimEnd();
}

function why(next: Described["next"], reasons: Described["reasons"]): string {
  if (reasons.length === 0) return "";
  if (next === "delete") return "goes with the next rotation";
  const shown = reasons.filter(({ rule }) => rule !== "hold");
  return shown.map(({ rule, detail }) => `${rule} ${detail}`).join("; ");
}
