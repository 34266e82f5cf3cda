/** From what is wanted and what is: the changes, in the order in which to make them. */
import { InputError, OpError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { childPointer } from "../dbus/value.ts";
import type { Buses } from "./buses.ts";
import { hashJson } from "./canonical.ts";
import { completeTypes } from "./complete.ts";
import { stateError } from "./document.ts";
import { diffState, relevantState, validateState } from "./kinds/kinds.ts";
import type { Change, Desired, Observed, Plan } from "./model.ts";
import {
  type LoadedPlugins,
  notInstalled,
  type StatePlugin,
  unusablePlugin,
} from "./plugins.ts";

/** Most changes of one plan. */
const MAX_CHANGES = 100_000;

/**
 * Checks a state document against the plugins.
 *
 * @param plugins in dependency order; and why others cannot be used
 * @param file the document's name, for messages
 * @throws {InputError} with the JSON pointer of the first thing that is wrong
 * @throws {OpError} `unusable_plugin` when it names a plugin that cannot be used
 */
export function validateDesired(
  { plugins, unusable }: Partial<LoadedPlugins> & Pick<LoadedPlugins, "plugins">,
  desired: Desired,
  file: string,
): void {
  for (const [name, states] of Object.entries(desired)) {
    const pointer = childPointer("/plugins", name);
    const plugin = plugins.find((candidate) => candidate.name === name);
    if (!plugin) {
      const reason = unusable?.get(name);
      throw reason === undefined
        ? notInstalled(name, plugins.map((candidate) => candidate.name))
        : unusablePlugin(name, reason);
    }
    for (const [stateName, wanted] of Object.entries(states)) {
      const at = childPointer(pointer, stateName);
      const state = plugin.mapping.states.get(stateName);
      if (!state) {
        const known = [...plugin.mapping.states.keys()];
        const guess = nearest(stateName, known);
        const hint = guess ? `did you mean "${guess}"?` : `it has: ${known.join(", ")}`;
        throw stateError(file, at, `is unknown to the plugin ${name}; ${hint}`);
      }
      validateState({ plugin, state, file }, wanted, at);
    }
  }
}

/** The hash of what of the observed state decides the plan. */
export function observedHash(
  plugins: readonly StatePlugin[],
  desired: Desired,
  observed: Observed,
): string {
  const relevant = plugins.filter(({ name }) => Object.hasOwn(desired, name)).map((p) => [
    p.name,
    Object.entries(desired[p.name]!).map(([stateName, wanted]) => [
      stateName,
      relevantState(
        { plugin: p, state: p.mapping.states.get(stateName)!, file: "" },
        wanted,
        observed[p.name]?.[stateName] ?? null,
      ),
    ]),
  ]);
  return hashJson(relevant as never);
}

/**
 * The plan that makes `observed` into `desired`. Pure: the same input gives the same plan.
 *
 * @param plugins in dependency order; types complete
 * @param desired checked by {@link validateDesired}
 */
export function makePlan(
  plugins: readonly StatePlugin[],
  desired: Desired,
  observed: Observed,
  file: string,
  now: Date = new Date(),
): Plan {
  const changes: Change[] = [];
  for (const plugin of plugins) {
    const wanted = desired[plugin.name];
    if (!wanted) continue;
    // The mapping's order is the order of its states' dependencies.
    for (const state of plugin.mapping.states.values()) {
      if (!Object.hasOwn(wanted, state.name)) continue;
      const found = observed[plugin.name]?.[state.name];
      if (found === undefined) throw new TypeError(`${state.name} was not observed`);
      changes.push(...diffState({ plugin, state, file }, wanted[state.name]!, found));
    }
  }
  if (changes.length > MAX_CHANGES) {
    throw new InputError("too_large", `The plan has more than ${MAX_CHANGES} changes`, {
      hint: "split the state file",
    });
  }
  return {
    version: 1,
    created: now.toISOString(),
    desired,
    desired_hash: hashJson(desired),
    observed_hash: observedHash(plugins, desired, observed),
    changes: ordered(changes),
  };
}

/** Deletions last and backwards: what others depend on goes after them. */
function ordered(changes: readonly Change[]): Change[] {
  const deletions = changes.filter(({ action }) => action === "delete");
  const others = changes.filter(({ action }) => action !== "delete");
  return [...others, ...deletions.reverse()];
}

/** The plugins that a document names, with types complete. */
export async function preparePlugins(
  plugins: readonly StatePlugin[],
  desired: Desired,
  buses: Buses,
): Promise<StatePlugin[]> {
  const named = plugins.filter(({ name }) => Object.hasOwn(desired, name));
  return await Promise.all(
    named.map(async (plugin) =>
      await completeTypes(plugin, await buses.get(plugin.mapping.service.bus))
    ),
  );
}

/** @throws {OpError} when something that is wanted cannot be compared */
export function refuseUnknown(plan: Plan): void {
  const [first, ...more] = plan.changes.filter(({ action }) => action === "unknown");
  if (!first) return;
  throw new OpError(
    "unknown_state",
    `Cannot plan ${first.id}: ${first.reason}` +
      (more.length > 0 ? ` (and ${more.length} more)` : ""),
    {
      hint:
        "nothing was changed; mend the service, give what is missing, or take it out " +
        "of the state file",
    },
  );
}
