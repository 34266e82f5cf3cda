import type { Dated, Keep } from "./dated.ts";

/**
 * keep_min: never fewer than this, whatever the other rules say: the newest of those that
 * none of them keeps make up the number.
 *
 * @param kept names that other rules keep
 */
export function keepMin(
  history: readonly Dated[],
  kept: ReadonlySet<string>,
  min: number,
): Keep[] {
  const missing = min - history.filter(({ name }) => kept.has(name)).length;
  return history.filter(({ name }) => !kept.has(name)).slice(0, Math.max(0, missing))
    .map(({ name }) => ({ name, rule: "keep_min", detail: `never fewer than ${min}` }));
}
