/** Rolling back: to a checkpoint, or to what was there at a block of the audit chain. */
import { OpError } from "../base/errors.ts";
import type { RecordedAction } from "../base/recorder.ts";
import { isObject } from "../dbus/value.ts";
import { apply, type ApplyOptions, type ApplyResult } from "./apply.ts";
import { readCheckpoint } from "./checkpoint.ts";
import { mergeDocuments } from "./inverse.ts";
import type { Desired } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";

/** The options of an apply; the source of the wanted state is known. */
export type RollbackOptions = Omit<ApplyOptions, "file" | "action" | "confirmWithinMs">;

/** What came of it. */
export interface RollbackResult extends ApplyResult {
  /** What was known before to be beyond bringing back, or not exactly, with the reason. */
  readonly leftOut: readonly string[];
}

/**
 * Brings back what a checkpoint holds.
 *
 * @param id its id, or `latest`
 * @throws as {@link apply}, and {OpError} `no_checkpoint`
 */
export async function rollbackToCheckpoint(
  id: string,
  options: RollbackOptions,
): Promise<RollbackResult> {
  const checkpoint = readCheckpoint(options.layout, id);
  const result = await apply({ desired: checkpoint.plugins }, {
    ...options,
    action: "rollback",
    file: `checkpoint ${checkpoint.id}`,
  });
  return { ...result, leftOut: checkpoint.left_out };
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
  const desired = stateAtBlock(options.plugins, to, blocks);
  const result = await apply({ desired }, {
    ...options,
    action: "rollback",
    file: `block ${to}`,
  });
  const leftOut = blocks.filter(({ number }) => number > to).flatMap(({ data }) =>
    Array.isArray(data.left_out) ? data.left_out.map(String) : []
  );
  return { ...result, leftOut };
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
