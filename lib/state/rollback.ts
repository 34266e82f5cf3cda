/** Rolling back: to a checkpoint, or to what was there at a block of the audit chain. */
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import type { RecordedAction } from "../base/recorder.ts";
import { isObject } from "../dbus/value.ts";
import { apply, type ApplyOptions, type ApplyResult } from "./apply.ts";
import { type Checkpoint, listCheckpoints, readCheckpoint } from "./checkpoint.ts";
import { mergeDocuments } from "./inverse.ts";
import { readJournal } from "./journal.ts";
import type { Desired } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

/** The options of an apply; the source of the wanted state is known. */
export type RollbackOptions = Omit<ApplyOptions, "file" | "action" | "confirmWithinMs">;

/** What came of it. */
export interface RollbackResult extends ApplyResult {
  /** What was known before to be beyond bringing back, or not exactly, with the reason. */
  readonly leftOut: readonly string[];
  /** Of these what no plugin knows any more. */
  readonly lost: readonly string[];
}

/**
 * Brings back the state of a checkpoint's time: what it holds, and what applies after it
 * say was there before them. A list of a set that it holds is exact; an entry of a
 * collection that somebody else made since stays.
 *
 * @param id its id, or `latest`
 * @throws as {@link apply}, and {OpError} `no_checkpoint`
 */
export async function rollbackToCheckpoint(
  id: string,
  options: RollbackOptions,
): Promise<RollbackResult> {
  const { layout } = options;
  const checkpoint = readCheckpoint(layout, id);
  const damaged: string[] = [];
  const all = listCheckpoints(layout, ({ message }) => damaged.push(message));
  const at = all.findIndex((one) => one.id === checkpoint.id);
  // Of whole states only the one that is named counts: nothing was changed after others.
  const later = all.slice(at + 1).filter(({ whole }) => !whole);
  const wanted = [...later.toReversed(), checkpoint];
  const plugins = options.plugins.map(withExactSets);
  return await bringBack(wanted.map((one) => one.plugins), {
    ...{ options: { ...options, plugins }, file: `checkpoint ${checkpoint.id}` },
    leftOut: [...wanted.flatMap((one) => one.left_out), ...damaged],
  });
}

/** The plugin with sets that lose what a list does not name, where it can be removed. */
function withExactSets(plugin: StatePlugin): StatePlugin {
  const states = [...plugin.mapping.states].map(([name, state]) =>
    [
      name,
      state.kind === "set" && state.remove ? { ...state, exclusive: true } : state,
    ] as const
  );
  return { ...plugin, mapping: { ...plugin.mapping, states: new Map(states) } };
}

interface Source {
  readonly options: RollbackOptions;
  readonly file: string;
  readonly leftOut: readonly string[];
}

/** Applies documents merged, the weakest first; what no plugin knows any more is named. */
async function bringBack(
  documents: readonly Desired[],
  { options, file, leftOut }: Source,
): Promise<RollbackResult> {
  const { known, lost } = stillKnown(options, mergeDocuments(options.plugins, documents));
  const [first] = lost;
  if (first !== undefined && Object.keys(known).length === 0) {
    throw new OpError("rolled_back_in_part", `Cannot bring back ${lost.join("; ")}`, {
      hint: "mend the plugin or install it again: op-dbus plugin install",
    });
  }
  const result = await apply({ desired: known }, {
    ...options,
    action: "rollback",
    file,
  });
  return { ...result, lost, leftOut: [...new Set([...leftOut, ...lost])] };
}

/** Of a document what the plugins of today know, and the reasons for the rest. */
function stillKnown(
  { plugins, unusable }: RollbackOptions,
  desired: Desired,
): { known: Desired; lost: string[] } {
  const lost: string[] = [];
  const known = Object.entries(desired).flatMap(([name, states]) => {
    const plugin = plugins.find((one) => one.name === name);
    const reason = unusable?.get(name);
    if (reason !== undefined) lost.push(`${name} (its plugin cannot be used: ${reason})`);
    else if (!plugin) lost.push(`${name} (its plugin is not installed any more)`);
    const kept = Object.entries(states).filter(([state]) => {
      const isThere = plugin?.mapping.states.has(state) ?? false;
      if (plugin && !isThere) {
        lost.push(`${name}.${state} (its plugin does not know it any more)`);
      }
      return isThere;
    });
    return kept.length > 0 ? [[name, Object.fromEntries(kept)] as const] : [];
  });
  return { known: Object.fromEntries(known), lost };
}

/** A block of the chain, as far as rolling back looks at it. */
export interface StateBlock extends RecordedAction {
  readonly number: number;
}

/**
 * Brings back what was there when a block was the last: undoes, newest first, what the
 * blocks after it say was changed.
 *
 * @param blocks the chain's blocks of category `state` with a number over `to`
 * @throws as {@link apply}, and {OpError} `nothing_to_undo`, `bad_block`
 */
export async function rollbackToBlock(
  to: number,
  blocks: readonly StateBlock[],
  options: RollbackOptions,
): Promise<RollbackResult> {
  const left = unfinished(options.layout);
  const isLater = blocks.some(({ category, number }) =>
    category === "state" && number > to
  );
  const undone = left && !isLater ? {} : stateAtBlock(options.plugins, to, blocks);
  const leftOut = blocks.filter(({ number }) => number > to).flatMap(({ data }) =>
    Array.isArray(data.left_out) ? data.left_out.map(String) : []
  );
  // An apply that a crash ended has no block: what it began is undone first.
  return await bringBack([left?.plugins ?? {}, undone], {
    ...{ options, file: `block ${to}` },
    leftOut: [...left?.left_out ?? [], ...leftOut],
  });
}

/** The checkpoint of an apply that a crash ended; null where there is none. */
function unfinished(layout: Layout): Checkpoint | null {
  const journal = readJournal(layout);
  return journal && readCheckpoint(layout, journal.checkpoint);
}

/** The document that undoes every state block after `to`. */
export function stateAtBlock(
  plugins: readonly StatePlugin[],
  to: number,
  blocks: readonly StateBlock[],
): Desired {
  const later = blocks.filter(({ category, number }) =>
    category === "state" && number > to
  )
    .sort((a, b) => b.number - a.number);
  if (later.length === 0) {
    throw new OpError("nothing_to_undo", `No state was changed after block ${to}`, {
      hint: "see the blocks: op-dbus chain list",
    });
  }
  const inverses = later.map(({ number, data }) => {
    if (isObject(data.inverse)) return data.inverse as Desired;
    throw new OpError("bad_block", `Block ${number} does not say how to undo it`, {
      hint: "roll back to a checkpoint: op-dbus checkpoint list",
    });
  });
  // The older the block, the nearer to the wanted time is what it found.
  return mergeDocuments(plugins, inverses);
}
