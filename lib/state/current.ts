/**
 * `@state/current.json`: everything that was applied, as a state file that can be applied
 * again, and the same per plugin.
 */
import { writeDurably } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import { makeFolders } from "../base/root.ts";
import { isObject } from "../dbus/value.ts";
import { canonicalJson } from "./canonical.ts";
import { readJson, StateFiles } from "./files.ts";
import { mergeDocuments } from "./inverse.ts";
import type { Desired } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

/** A whole desired state, as in a state file. */
export interface CurrentState {
  readonly version: 1;
  readonly plugins: Desired;
}

/** The current state; null before the first apply. */
export function readCurrent(layout: Layout): CurrentState | null {
  const value = readJson(new StateFiles(layout).current);
  return isObject(value) && isObject(value.plugins)
    ? value as unknown as CurrentState
    : null;
}

/**
 * Notes what was applied over what was applied before; each file whole or not at all.
 *
 * @returns the whole state now
 */
export function writeCurrent(
  layout: Layout,
  plugins: readonly StatePlugin[],
  desired: Desired,
): CurrentState {
  const files = new StateFiles(layout);
  const before = readCurrent(layout)?.plugins ?? {};
  const state = {
    version: 1,
    plugins: mergeDocuments(plugins, [before, desired]),
  } as const;
  makeFolders(files.plugins);
  for (const name of Object.keys(desired)) {
    const one = { version: 1, plugins: { [name]: state.plugins[name]! } };
    write(`${files.plugins}/${name}.json`, one);
  }
  // Last: it says which state the others belong to.
  write(files.current, state);
  return state;
}

function write(
  path: string,
  value: { readonly version: number; readonly plugins: Desired },
) {
  writeDurably(path, new TextEncoder().encode(`${canonicalJson({ ...value })}\n`), 0o600);
}
