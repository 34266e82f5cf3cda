/** `@state/current.json`: what was applied last, and what was there after it. */
import type { Layout } from "../base/layout.ts";
import { isObject } from "../dbus/value.ts";
import { readJson, StateFiles, writeJson } from "./files.ts";
import { mergeDocuments } from "./inverse.ts";
import type { Desired, Observed } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

/** The state that op-dbus answers for. */
export interface CurrentState {
  readonly version: 1;
  /** ISO time of the last apply. */
  readonly time: string;
  /** Everything wanted so far, a later apply over an earlier one. */
  readonly plugins: Desired;
  /** What was read back after the last apply of each. */
  readonly observed: Observed;
}

/** The current state; null before the first apply. */
export function readCurrent(layout: Layout): CurrentState | null {
  const value = readJson(new StateFiles(layout).current);
  return isObject(value) && isObject(value.plugins)
    ? value as unknown as CurrentState
    : null;
}

/** Notes what was applied: in `current.json` and per plugin, each whole or not at all. */
export function writeCurrent(
  layout: Layout,
  plugins: readonly StatePlugin[],
  desired: Desired,
  observed: Observed,
  now: Date = new Date(),
): void {
  const files = new StateFiles(layout);
  const before = readCurrent(layout);
  const merged = mergeDocuments(plugins, [before?.plugins ?? {}, desired]);
  const seen = mergeDocuments(plugins, [before?.observed ?? {}, observed]);
  const time = now.toISOString();
  writeJson(files.current, { version: 1, time, plugins: merged, observed: seen });
  for (const name of Object.keys(desired)) {
    const one = { version: 1, time, plugins: { [name]: merged[name] } };
    writeJson(`${files.plugins}/${name}.json`, { ...one, observed: seen[name] ?? {} });
  }
}
