/** Checkpoints: what a state file must say to bring back what was there. */
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { nearest } from "../base/nearest.ts";
import { isObject, type Json } from "../dbus/value.ts";
import type { Buses } from "./buses.ts";
import type { MappedState } from "../plugin/mapping.ts";
import { restorableEntry } from "./kinds/collection_change.ts";
import { createJson, listFiles, readOr, removeFile, StateFiles } from "./files.ts";
import { type Desired, isUnknown } from "./model.ts";
import { observeEach } from "./observe.ts";
import type { StatePlugin } from "./plugins.ts";

/** One checkpoint. */
export interface Checkpoint {
  readonly version: 1;
  /** Time and a counter: 20261126T093735Z-2. */
  readonly id: string;
  /** ISO time. */
  readonly time: string;
  /** `apply`, `rollback`, `created`, ... */
  readonly reason: string;
  /** True for one of a whole present state; else it holds what one apply changed. */
  readonly whole?: boolean;
  /** The resources it brings back, as a state document's `plugins`. */
  readonly plugins: Desired;
  /** What it could not read and so cannot bring back. */
  readonly left_out: readonly string[];
}

/** How many are kept; older ones are removed as new ones are made. */
export const KEPT_CHECKPOINTS = 200;
const ID = /^[0-9]{8}T[0-9]{6}Z-[0-9]+$/;

/** What {@link writeCheckpoint} keeps. */
export type CheckpointContent = Pick<Checkpoint, "reason" | "plugins" | "left_out"> & {
  readonly whole?: boolean;
};

/** Makes a checkpoint durable, then forgets those beyond the limit. */
export function writeCheckpoint(
  layout: Layout,
  content: CheckpointContent,
  now: Date = new Date(),
): Checkpoint {
  const { checkpoints } = new StateFiles(layout);
  const ids = checkpointIds(layout);
  const [newest = "", last = "0"] = ids.at(-1)?.split("-") ?? [];
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  // With a clock that was set back the one made last still comes last.
  const first = newest >= stamp ? newest : stamp;
  for (let n = newest >= stamp ? Number(last) + 1 : 1;; n++) {
    const id = `${first}-${n}`;
    const made: Checkpoint = { version: 1, id, time: now.toISOString(), ...content };
    // It may hold what only root could read. Another command may have taken the name.
    if (!createJson(`${checkpoints}/${id}.json`, made)) continue;
    for (const old of ids.slice(0, Math.max(0, ids.length + 1 - KEPT_CHECKPOINTS))) {
      removeCheckpoint(layout, old);
    }
    return made;
  }
}

/** Forgets a checkpoint. */
export function removeCheckpoint(layout: Layout, id: string): void {
  removeFile(`${new StateFiles(layout).checkpoints}/${id}.json`);
}

/** Their ids, in the order in which they were made. */
export function checkpointIds(layout: Layout): string[] {
  const { checkpoints } = new StateFiles(layout);
  const ids = listFiles(checkpoints, ".json").map((name) => name.slice(0, -5));
  return ids.filter((id) => ID.test(id)).sort((a, b) => {
    const [stamp, n] = a.split("-"), [other, m] = b.split("-");
    return stamp === other ? Number(n) - Number(m) : stamp! < other! ? -1 : 1;
  });
}

/**
 * All checkpoints, oldest first.
 *
 * @param damaged told of each that cannot be read; it hides no other
 */
export function listCheckpoints(
  layout: Layout,
  damaged: (error: OpError) => void = () => {},
): Checkpoint[] {
  return checkpointIds(layout).flatMap((id) => {
    try {
      return [readCheckpoint(layout, id)];
    } catch (error) {
      if (!(error instanceof OpError)) throw error;
      damaged(error);
      return [];
    }
  });
}

/**
 * One checkpoint.
 *
 * @param id its id, or `latest`
 * @throws {OpError} `no_checkpoint`
 */
export function readCheckpoint(layout: Layout, id: string): Checkpoint {
  const { checkpoints } = new StateFiles(layout);
  const ids = checkpointIds(layout);
  const chosen = id === "latest" ? ids.at(-1) : id;
  if (chosen === undefined || !ids.includes(chosen)) {
    const guess = nearest(id, ids);
    throw new OpError("no_checkpoint", `There is no checkpoint ${JSON.stringify(id)}`, {
      hint: guess ? `did you mean ${guess}?` : "see them: op-dbus checkpoint list",
    });
  }
  const value = readOr(`${checkpoints}/${chosen}.json`);
  if (!isObject(value) || value.version !== 1 || !isObject(value.plugins)) {
    throw new OpError("bad_checkpoint", `The checkpoint ${chosen} cannot be read`, {
      hint: "it was damaged; choose another: op-dbus checkpoint list",
    });
  }
  return value as unknown as Checkpoint;
}

/**
 * A checkpoint of the whole present state of plugins. What cannot be read or written back
 * is left out, and named.
 */
export async function createCheckpoint(
  layout: Layout,
  plugins: readonly StatePlugin[],
  buses: Buses,
  options: { reason?: string; signal?: AbortSignal } = {},
): Promise<Checkpoint> {
  const { signal } = options;
  const all = await observeEach(plugins, buses, signal ? { signal } : {});
  const failed = all.filter((one) => "error" in one);
  if (failed.length === all.length && failed[0]) throw failed[0].error;
  const observed = Object.fromEntries(
    all.filter((one) => "states" in one).map(({ plugin, states }) => [plugin, states]),
  );
  const { kept, leftOut } = restorable(plugins, observed);
  const missing = failed.map(({ plugin, error }) => `${plugin}: ${error.message}`);
  return writeCheckpoint(layout, {
    reason: options.reason ?? "created",
    whole: true,
    plugins: kept,
    left_out: [...missing, ...leftOut],
  });
}

/** Of what was observed what can be written back, and the names of the rest. */
export function restorable(
  plugins: readonly StatePlugin[],
  observed: Desired,
): { kept: Desired; leftOut: string[] } {
  const kept: { [plugin: string]: { [state: string]: Json } } = {};
  const leftOut: string[] = [];
  for (const plugin of plugins) {
    for (const [name, value] of Object.entries(observed[plugin.name] ?? {})) {
      const state = plugin.mapping.states.get(name)!;
      const fields = [...state.fields.values()].some((field) => field.write);
      const canWrite = state.write ?? state.add ?? state.on ?? state.create ?? fields;
      const given = canWrite && state.kind === "collection" && isObject(value)
        ? restorableEntries(plugin, state, value)
        : value;
      const known = canWrite ? withoutUnknown(given) : undefined;
      if (known === undefined) leftOut.push(`${plugin.name}.${name}`);
      else (kept[plugin.name] ??= {})[name] = known;
    }
  }
  return { kept, leftOut };
}

/** Entries with only what can be given to one that is made again. */
function restorableEntries(
  plugin: StatePlugin,
  state: MappedState,
  entries: { readonly [name: string]: Json },
): Json {
  if (isUnknown(entries)) return entries;
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [
      name,
      isObject(entry) && !isUnknown(entry)
        ? restorableEntry({ plugin, state }, entry).fields
        : entry,
    ]),
  );
}

function withoutUnknown(value: Json): Json | undefined {
  if (isUnknown(value)) return undefined;
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, child]) => !isUnknown(child));
  return entries.length === 0 && Object.keys(value).length > 0
    ? undefined
    : Object.fromEntries(entries);
}
