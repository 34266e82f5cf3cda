/** Merging state documents by what each kind of state means: for checkpoints and rollback. */
import { isObject, type Json } from "../dbus/value.ts";
import type { MappedState } from "../plugin/mapping.ts";
import { canonicalJson } from "./canonical.ts";
import type { Change, Desired } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

type Writable = { [plugin: string]: { [state: string]: Json } };

/** The document that undoes a plan's changes. */
export function inverseOf(
  plugins: readonly StatePlugin[],
  changes: readonly Change[],
): Desired {
  const merged: Writable = {};
  for (const { plugin, state, key, inverse, action } of changes) {
    if (action === "unknown" || inverse === null) continue;
    const mapped = stateOf(plugins, plugin, state);
    const isKeyed = key !== null && mapped?.kind !== "collection";
    const one = { [plugin]: { [state]: isKeyed ? { [key]: inverse } : inverse } };
    mergeInto(plugins, merged, one as Desired);
  }
  return merged;
}

/**
 * Merges documents; a later one wins where they differ.
 *
 * @param documents the first is the weakest
 */
export function mergeDocuments(
  plugins: readonly StatePlugin[],
  documents: readonly Desired[],
): Desired {
  const merged: Writable = {};
  for (const document of documents) mergeInto(plugins, merged, document);
  return merged;
}

function mergeInto(plugins: readonly StatePlugin[], into: Writable, from: Desired): void {
  for (const [plugin, states] of Object.entries(from)) {
    if (!Object.hasOwn(into, plugin)) into[plugin] = {};
    const target = into[plugin]!;
    for (const [name, value] of Object.entries(states)) {
      const state = stateOf(plugins, plugin, name);
      target[name] = Object.hasOwn(target, name)
        ? merge(state, target[name]!, value)
        : value;
    }
  }
}

function stateOf(plugins: readonly StatePlugin[], plugin: string, state: string) {
  return plugins.find(({ name }) => name === plugin)?.mapping.states.get(state);
}

function merge(state: MappedState | undefined, weak: Json, strong: Json): Json {
  if (!state) return strong;
  if (state.key !== undefined && state.kind !== "collection") {
    return byKey(weak, strong, (a, b) => mergeOne(state, a, b));
  }
  return mergeOne(state, weak, strong);
}

function mergeOne(state: MappedState, weak: Json, strong: Json): Json {
  if (state.kind === "set") return mergeSets(weak, strong);
  if (state.kind === "record") return byKey(weak, strong, (_, b) => b);
  if (state.kind !== "collection") return strong;
  return byKey(weak, strong, (a, b) => byKey(a, b, (_, field) => field));
}

function byKey(weak: Json, strong: Json, both: (a: Json, b: Json) => Json): Json {
  if (!isObject(weak) || !isObject(strong)) return strong;
  // No assignment: a key may be __proto__.
  const merged = new Map(Object.entries(weak));
  for (const [key, value] of Object.entries(strong)) {
    merged.set(key, merged.has(key) ? both(merged.get(key)!, value) : value);
  }
  return Object.fromEntries(merged);
}

function mergeSets(weak: Json, strong: Json): Json {
  // A plain list says what must be there; it wins whole.
  if (!isObject(strong)) return strong;
  if (Array.isArray(weak)) return mergeSets({ present: weak }, strong);
  if (!isObject(weak)) return strong;
  const list = (value: Json | undefined) => (value ?? []) as readonly Json[];
  const present = list(strong.present), absent = list(strong.absent);
  const decided = new Set([...present, ...absent].map(canonicalJson));
  const rest = (items: Json | undefined) =>
    list(items).filter((item) => !decided.has(canonicalJson(item)));
  return {
    present: [...rest(weak.present), ...present],
    absent: [...rest(weak.absent), ...absent],
  };
}
