import type { Dated } from "./dated.ts";

/**
 * free_space_min: what may go, oldest first, when space is short although every other rule
 * would keep it: all but the newest `min`, and never the newest of all.
 *
 * @param kept snapshots that remain, newest first
 * @param spared names that stay even so: held, younger than min_age
 */
export function whenSpaceIsShort(
  kept: readonly Dated[],
  spared: ReadonlySet<string>,
  min: number,
): Dated[] {
  const free = kept.filter(({ name }) => !spared.has(name));
  const must = Math.max(1, min - (kept.length - free.length));
  return free.slice(must).reverse();
}
