/** Querying: the present state of plugins, from the cache where it is young enough. */
import type { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import type { Json } from "../dbus/value.ts";
import type { MappedState } from "../plugin/mapping.ts";
import type { Buses } from "./buses.ts";
import { hashJson } from "./canonical.ts";
import { observeEach } from "./observe.ts";
import type { StatePlugin } from "./plugins.ts";
import { changeMark, readQuery, writeQuery } from "./query_cache.ts";

/** How old a cached answer may be where nothing is said. */
export const DEFAULT_MAX_AGE_MS = 30_000;

/** How to query. */
export interface QueryOptions {
  readonly layout: Layout;
  readonly buses: Buses;
  /** Default {@link DEFAULT_MAX_AGE_MS}; 0 always asks the service. */
  readonly maxAgeMs?: number;
  readonly signal?: AbortSignal;
  readonly now?: Date;
}

/** One plugin's state. */
export interface QueryResult {
  readonly plugin: string;
  /** Null when it could not be read at all. */
  readonly states: { readonly [state: string]: Json } | null;
  readonly error: OpError | null;
  readonly cached: boolean;
  /** How long ago it was read, in milliseconds. */
  readonly ageMs: number;
}

/** Reads plugins; one that fails hides no other. */
export async function query(
  plugins: readonly StatePlugin[],
  options: QueryOptions,
): Promise<QueryResult[]> {
  const { layout, buses, signal, maxAgeMs = DEFAULT_MAX_AGE_MS } = options;
  const now = (options.now ?? new Date()).getTime();
  const results = new Map<string, QueryResult>();
  for (const plugin of plugins) {
    const found = maxAgeMs > 0 ? readQuery(layout, plugin.name) : null;
    const ageMs = found ? now - Date.parse(found.time) : Infinity;
    // A clock that was set back makes no entry young for ever.
    if (!found || !(ageMs >= 0 && ageMs <= maxAgeMs)) continue;
    if (found.mapping !== mappingHash(plugin)) continue;
    const fresh = { error: null, cached: true, ageMs };
    results.set(plugin.name, { plugin: plugin.name, states: found.states, ...fresh });
  }
  const missing = plugins.filter(({ name }) => !results.has(name));
  const marks = new Map(missing.map(({ name }) => [name, changeMark(layout, name)]));
  const read = await observeEach(missing, buses, signal ? { signal } : {});
  for (const observation of read) {
    const plugin = plugins.find(({ name }) => name === observation.plugin)!;
    const states = "error" in observation ? null : observation.states;
    const error = "error" in observation ? observation.error : null;
    results.set(plugin.name, {
      plugin: plugin.name,
      states,
      error,
      cached: false,
      ageMs: 0,
    });
    if (states) {
      const time = new Date(now).toISOString();
      const mark = marks.get(plugin.name)!;
      writeQuery(
        layout,
        plugin.name,
        { time, mapping: mappingHash(plugin), states },
        mark,
      );
    }
  }
  return plugins.map(({ name }) => results.get(name)!);
}

const hashes = new WeakMap<object, string>();

/** Changes whenever what a mapping reads may have changed. */
export function mappingHash(plugin: StatePlugin): string {
  const known = hashes.get(plugin.mapping);
  if (known !== undefined) return known;
  const hash = hashMapping(plugin);
  hashes.set(plugin.mapping, hash);
  return hash;
}

function hashMapping({ version, mapping }: StatePlugin): string {
  const states = [...mapping.states.values()].map(
    (state: MappedState) => [{ ...state, fields: [...state.fields] }],
  );
  const { service } = mapping, methods = [...mapping.methods];
  return hashJson(
    JSON.parse(JSON.stringify([version, service, methods, states])) as Json,
  );
}
