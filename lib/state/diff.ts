/**
 * Comparing a state document with the host. Plans are kept in `@cache/diffs/` under the
 * hashes of both sides and of the mappings: the same question has the same answer.
 */
import type { Layout } from "../base/layout.ts";
import { VERSION } from "../base/version.ts";
import { writeAtomically } from "../base/durable.ts";
import { makeFolders } from "../base/root.ts";
import { isObject } from "../dbus/value.ts";
import type { Buses } from "./buses.ts";
import { hashJson } from "./canonical.ts";
import { listFiles, readOr, removeFile } from "./files.ts";
import type { Desired, Observed, Plan } from "./model.ts";
import { observe } from "./observe.ts";
import { makePlan, observedHash, preparePlugins, validateDesired } from "./plan.ts";
import type { StatePlugin } from "./plugins.ts";
import { mappingHash, query } from "./query.ts";
import { hasCache } from "./query_cache.ts";

/** How to compare. */
export interface DiffOptions {
  readonly layout: Layout;
  readonly buses: Buses;
  /** All that can be used, in dependency order. */
  readonly plugins: readonly StatePlugin[];
  /** Why others cannot be used, by name. */
  readonly unusable?: ReadonlyMap<string, string>;
  readonly file: string;
  /** How old what was read may be; default 0: ask the services. */
  readonly maxAgeMs?: number;
  readonly signal?: AbortSignal;
}

/** How many plans are kept. */
const KEPT_PLANS = 500;

/**
 * The plan from the host as it is to what is wanted.
 *
 * @throws {InputError} when the document is wrong
 * @throws {OpError} when a service cannot be read
 */
export async function diff(desired: Desired, options: DiffOptions): Promise<Plan> {
  const { layout, buses, file, signal, maxAgeMs = 0 } = options;
  const named = options.plugins.filter(({ name }) => Object.hasOwn(desired, name));
  validateDesired(options, desired, file);
  const recent = maxAgeMs > 0 ? await recentStates(named, desired, options) : null;
  if (recent) {
    return cachedPlan(layout, named, desired, recent, file);
  }
  const plugins = await preparePlugins(named, desired, buses);
  const observed = await observe(plugins, buses, { desired, ...(signal && { signal }) });
  return cachedPlan(layout, plugins, desired, observed, file);
}

async function recentStates(
  plugins: readonly StatePlugin[],
  desired: Desired,
  options: DiffOptions,
): Promise<Observed | null> {
  const untyped = plugins.some(({ mapping }) =>
    [...mapping.methods.values()].some(({ args }) =>
      args.some((a) => a.type === undefined)
    )
  );
  if (untyped) return null;
  const results = await query(plugins, options);
  const failed = results.find(({ error }) => error !== null);
  if (failed?.error) throw failed.error;
  const observed = Object.fromEntries(
    results.map(({ plugin, states }) => [plugin, states!]),
  );
  // A state without a list of its keys is read only when a document names them.
  const complete = plugins.every(({ name }) =>
    Object.keys(desired[name]!).every((state) => Object.hasOwn(observed[name]!, state))
  );
  return complete ? observed : null;
}

/** The plan of both sides: from the cache, or made and kept there. */
export function cachedPlan(
  layout: Layout,
  plugins: readonly StatePlugin[],
  desired: Desired,
  observed: Observed,
  file: string,
): Plan {
  const both = [hashJson(desired), observedHash(plugins, desired, observed)];
  // All that was observed of it: calls and what undoes them hold more than what decides
  // whether there is a change. Another release may plan other calls, too.
  const whole = plugins.flatMap(({ name }) =>
    Object.keys(desired[name] ?? {}).map((state) => observed[name]?.[state] ?? null)
  );
  const key = hashJson([VERSION, both[0]!, hashJson(whole), ...plugins.map(mappingHash)]);
  const path = `${layout.diffs}/${key}.json`;
  const found = readOr(path);
  if (
    isObject(found) && found.version === 1 && found.desired_hash === both[0] &&
    found.observed_hash === both[1] && Array.isArray(found.changes)
  ) return found as unknown as Plan;
  const plan = makePlan(plugins, desired, observed, file);
  if (hasCache(layout)) {
    makeFolders(layout.diffs);
    const names = listFiles(layout.diffs, ".json");
    if (names.length >= KEPT_PLANS) {
      for (const name of names) removeFile(`${layout.diffs}/${name}`);
    }
    writeAtomically(path, new TextEncoder().encode(JSON.stringify(plan)), 0o600);
  }
  return plan;
}
