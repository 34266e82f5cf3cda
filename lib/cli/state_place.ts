/** What the commands of desired state share: plugins, buses, printing of plans. */
import type { Buses } from "../state/buses.ts";
import type { Change, Desired, Plan } from "../state/model.ts";
import type { StatePlugin } from "../state/plugins.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { printable } from "./escape.ts";
import { durationFlag, textFlag, toggle } from "./flags.ts";
import type { Output } from "./output.ts";

/** `--plugin`, repeatable or comma-separated. */
export const PLUGIN = textFlag("Only this plugin; several with commas", "NAME");
/** `--timeout` of each call. */
export const TIMEOUT = durationFlag("How long a service may take to answer (25s)");
/** `--wait` for another apply. */
export const WAIT = durationFlag("How long to wait for another apply to end");
/** `--only-safe` */
export const ONLY_SAFE = toggle("Leave out what needs a person's yes");

/** Connections and plugins of one command. */
export interface StatePlace {
  readonly plugins: readonly StatePlugin[];
  /** Why a plugin cannot be used, by name. */
  readonly unusable: ReadonlyMap<string, string>;
  readonly buses: Buses;
}

/**
 * Loads the plugins and gives a place to connect from. The connections end with the
 * process: closing them is the bus's matter.
 */
export async function openState(
  context: Context,
  timeoutMs?: number,
): Promise<StatePlace> {
  const { requireRoot } = await import("../base/root.ts");
  const { loadPlugins } = await import("../state/plugins.ts");
  const { Buses } = await import("../state/buses.ts");
  requireRoot(context.layout.root);
  const buses = new Buses({
    signal: context.signal,
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  context.onClose(() => void buses[Symbol.asyncDispose]());
  return { ...loadPlugins(context.layout), buses };
}

/** The plugins that `--plugin` names, checked; all of them without it. */
export async function choosePlugins(
  { plugins, unusable }: StatePlace,
  flag: string | undefined,
): Promise<readonly StatePlugin[]> {
  if (flag === undefined) return plugins;
  const { notInstalled, unusablePlugin } = await import("../state/plugins.ts");
  const names = flag.split(",").map((name) => name.trim());
  for (const name of names) {
    if (plugins.some((plugin) => plugin.name === name)) continue;
    const reason = unusable.get(name);
    throw reason === undefined
      ? notInstalled(name, plugins.map((p) => p.name))
      : unusablePlugin(name, reason);
  }
  return plugins.filter(({ name }) => names.includes(name));
}

/** A document, or a saved plan; `--plugin` leaves the other plugins of it out. */
export async function readWanted(
  file: string,
  place: StatePlace,
  only: string | undefined,
): Promise<{ desired: Desired } | { plan: Plan }> {
  const { readStateFile } = await import("../state/document.ts");
  const wanted = readStateFile(file);
  if (only === undefined) return wanted;
  const names = (await choosePlugins(place, only)).map(({ name }) => name);
  if ("plan" in wanted) {
    const { InputError } = await import("../base/errors.ts");
    throw new InputError("usage", "--plugin cannot take a part of a saved plan", {
      hint: "apply the whole plan, or the state file",
    });
  }
  const chosen = Object.entries(wanted.desired).filter(([name]) => names.includes(name));
  if (chosen.length === names.length) return { desired: Object.fromEntries(chosen) };
  const { stateError } = await import("../state/document.ts");
  const missing = names.filter((name) => !Object.hasOwn(wanted.desired, name));
  throw stateError(file, "/plugins", `says nothing of ${missing.join(", ")}`);
}

const SIGNS = { create: "+", modify: "~", delete: "-", unknown: "?" } as const;
const COLOURS = {
  create: "green",
  modify: "yellow",
  delete: "red",
  unknown: "cyan",
} as const;

/** A plan as people know it from other tools: a sign, a name, before and after. */
export function planText(out: Output, plan: Plan): string {
  if (plan.changes.length === 0) return "No changes: what is there is as wanted.";
  const lines = plan.changes.flatMap((change) => changeLines(out, change));
  return [...lines, "", summary(plan)].join("\n");
}

/** `Plan: 1 to create, 2 to modify, 0 to delete` */
export function summary({ changes }: Plan): string {
  const count = (action: Change["action"]) =>
    changes.filter((change) => change.action === action).length;
  const unknown = count("unknown");
  const asking = changes.filter(({ confirm }) => confirm).length;
  const final =
    changes.filter(({ undo, undo_note }) => !undo && undo_note !== null).length;
  return `Plan: ${count("create")} to create, ${count("modify")} to modify, ` +
    `${count("delete")} to delete${unknown > 0 ? `, ${unknown} unknown` : ""}` +
    `${asking > 0 ? `; ${asking} to confirm` : ""}` +
    `${final > 0 ? `; ${final} cannot be undone` : ""}`;
}

function changeLines(out: Output, change: Change): string[] {
  const { action, id, before, after, call, reason, undo_note, safe } = change;
  const head = out.style(COLOURS[action], `${SIGNS[action]} ${printable(id)}`);
  if (action === "unknown" || !call) {
    return [`${head}  unknown: ${printable(reason ?? "")}`];
  }
  const values = action === "modify" ? `  ${short(before)} -> ${short(after)}` : "";
  const args = call.args.map(short).join(", ");
  const made = `    ${call.interface}.${call.member}(${args})`;
  const marks = [
    safe ? "safe" : "unsafe",
    ...(change.confirm ? ["asks"] : []),
    ...(undo_note !== null
      ? [`cannot be undone${change.undo ? " exactly" : ""}: ${undo_note}`]
      : []),
  ];
  return [head + values, out.style("dim", `${made}  [${printable(marks.join("; "))}]`)];
}

const MAX_SHOWN_CHARS = 80;

/** A value on one line; what is long is cut. */
export function short(value: unknown): string {
  const text = printable(JSON.stringify(value) ?? "");
  return text.length > MAX_SHOWN_CHARS
    ? `${text.slice(0, MAX_SHOWN_CHARS - 3)}...`
    : text;
}

/** The gate of apply and rollback: shows the plan, then asks. */
export function gate(context: Context, yes: boolean) {
  return async (plan: Plan, asking: readonly Change[]) => {
    context.out.note(planText(context.out, plan));
    const plural = asking.length === 1
      ? "1 change that is"
      : `${asking.length} changes that are`;
    await confirm(context, `Make ${plural} not known to be safe`, yes);
    return !yes;
  };
}
