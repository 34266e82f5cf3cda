/** op-dbus query, diff, verify */
import type { Desired } from "../state/model.ts";
import { outputFile } from "./absolute.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, durationFlag, textFlag, toggle } from "./flags.ts";
import { multiLine } from "./escape.ts";
import {
  choosePlugins,
  openState,
  planText,
  PLUGIN,
  readWanted,
  type StatePlace,
  summary,
  TIMEOUT,
} from "./state_place.ts";

interface QueryFlags {
  readonly plugin?: string;
  readonly fresh?: boolean;
  readonly maxAge?: number;
  readonly timeout?: number;
}

/** `op-dbus query` */
export const query = command<QueryFlags>({
  brief: "Read the present state through the plugins; calls only what is safe",
  description:
    "Prints a state document: with --json it can be edited and applied. What cannot be\n" +
    'known is {"$unknown": "why"}. Answers come from @cache/queries while they are young.',
  examples: [
    "op-dbus query",
    "op-dbus query --plugin firewalld --fresh",
    "op-dbus query --plugin hostname --json > state.json",
  ],
  flags: {
    plugin: PLUGIN,
    fresh: toggle("Ask the services, whatever the cache has"),
    maxAge: durationFlag("How old a cached answer may be (30s)"),
    timeout: TIMEOUT,
  },
  async run(context, flags) {
    const { DEFAULT_MAX_AGE_MS, query } = await import("../state/query.ts");
    const { formatAge } = await import("../base/units.ts");
    const { out } = context;
    const place = await openState(context, flags.timeout);
    const plugins = await choosePlugins(place, flags.plugin);
    const results = await query(plugins, {
      ...place,
      layout: context.layout,
      signal: context.signal,
      maxAgeMs: flags.fresh ? 0 : flags.maxAge ?? DEFAULT_MAX_AGE_MS,
    });
    const good = results.filter(({ states }) => states !== null);
    const failed = results.filter(({ error }) => error !== null);
    for (const [name, reason] of flags.plugin === undefined ? place.unusable : []) {
      out.warn(`${name}: ${reason}`);
    }
    // A part is better than nothing, but a script must see that it is a part.
    const ends = failed.length > 0 && (flags.plugin !== undefined || good.length === 0);
    for (const { plugin, error } of ends ? failed.slice(1) : failed) {
      out.warn(`${plugin}: ${error!.message}`);
    }
    const document = {
      version: 1,
      plugins: Object.fromEntries(good.map(({ plugin, states }) => [plugin, states])),
    };
    out.result(document, () =>
      good.map(({ plugin, states, cached, ageMs }) => {
        const age = cached ? out.style("dim", `  (read ${formatAge(ageMs)})`) : "";
        const body = multiLine(JSON.stringify(states, null, 2)).replaceAll(/^/gm, "  ");
        return `${out.style("bold", plugin)}${age}\n${body}`;
      }).join("\n"));
    const trips = await place.buses.roundTrips();
    out.debug(`${trips} round trips, ${results.filter((r) => r.cached).length} cached`);
    if (ends) throw failed[0]!.error!;
  },
});

interface DiffFlags {
  readonly plugin?: string;
  readonly exitCode?: boolean;
  readonly output?: string;
  readonly maxAge?: number;
  readonly timeout?: number;
}

/** `op-dbus diff` */
export const diff = command<DiffFlags, [string]>({
  brief: "Show what an apply would change: + create, ~ modify, - delete, ? unknown",
  examples: [
    "op-dbus diff state.json",
    "op-dbus diff state.json --exit-code",
    "op-dbus diff state.json --output plan.json && op-dbus apply plan.json",
  ],
  flags: {
    plugin: PLUGIN,
    exitCode: toggle("End with 3 when there are differences"),
    output: textFlag("Save the plan: apply refuses it once the host has changed", "FILE"),
    maxAge: durationFlag("Compare with a cached query of at most this age (0s)"),
    timeout: TIMEOUT,
  },
  positional: { kind: "tuple", parameters: [argument("State file", "STATE.json")] },
  async run(context, flags, file) {
    const { diff } = await import("../state/diff.ts");
    const { DifferenceError } = await import("../base/errors.ts");
    const output = flags.output === undefined ? undefined : outputFile(flags.output);
    const place = await openState(context, flags.timeout);
    const wanted = await readWanted(file, place, flags.plugin);
    const desired = "plan" in wanted ? wanted.plan.desired : wanted.desired;
    const plan = await diff(desired, {
      ...place,
      layout: context.layout,
      file,
      signal: context.signal,
      ...(flags.maxAge !== undefined && { maxAgeMs: flags.maxAge }),
    });
    if (output !== undefined) {
      const { writeDurably } = await import("../base/durable.ts");
      const bytes = new TextEncoder().encode(`${JSON.stringify(plan, null, 2)}\n`);
      writeDurably(output, bytes, 0o600);
      context.out.note(`Saved the plan in ${flags.output}`);
    }
    context.out.result(plan, () => planText(context.out, plan));
    context.out.debug(`${await place.buses.roundTrips()} round trips`);
    if (flags.exitCode && plan.changes.length > 0) {
      throw new DifferenceError("differences", `${file}: ${summary(plan)}`, {
        hint: "make them so with: op-dbus apply",
      });
    }
  },
});

/** Without the plugins that were removed or broken since; each of them is named. */
function stillInstalled(context: Context, place: StatePlace, desired: Desired): Desired {
  const known = new Set(place.plugins.map(({ name }) => name));
  for (const name of Object.keys(desired)) {
    if (known.has(name)) continue;
    const reason = place.unusable.get(name);
    const why = reason === undefined
      ? "is not installed any more"
      : `cannot be used (${reason})`;
    context.out.warn(`${name} ${why}: not checked`);
  }
  return Object.fromEntries(Object.entries(desired).filter(([name]) => known.has(name)));
}

/** `op-dbus verify` */
export const verify = command<{ timeout?: number }, [string?]>({
  brief: "Check that the host is still as a state file says, or as was applied last",
  description: "Ends with 3 when something differs.",
  examples: ["op-dbus verify", "op-dbus verify state.json"],
  flags: { timeout: TIMEOUT },
  positional: {
    kind: "tuple",
    parameters: [{ ...argument("State file", "STATE.json"), optional: true }],
  },
  async run(context, flags, file) {
    const { appliedState, verify } = await import("../state/verify.ts");
    const { DifferenceError } = await import("../base/errors.ts");
    const place = await openState(context, flags.timeout);
    const wanted = file === undefined ? null : await readWanted(file, place, undefined);
    const desired = wanted === null
      ? stillInstalled(context, place, appliedState(context.layout))
      : "plan" in wanted
      ? wanted.plan.desired
      : wanted.desired;
    const name = file ?? "what was applied last";
    const plan = await verify({
      ...place,
      layout: context.layout,
      file: name,
      signal: context.signal,
    }, desired);
    const value = { verified: plan.changes.length === 0, changes: plan.changes };
    context.out.result(value, () => planText(context.out, plan));
    if (plan.changes.length === 0) return;
    throw new DifferenceError("differences", `The host is not as ${name} says`, {
      hint: "see above; op-dbus apply makes it so",
    });
  },
});
