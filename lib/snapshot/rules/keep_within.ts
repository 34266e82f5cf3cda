import { formatDuration } from "../../base/units.ts";
import type { Rule } from "./dated.ts";

/**
 * keep_within: everything younger than this, counted back from the newest snapshot, not
 * from now: a host that was off for a month loses nothing when it starts.
 */
export const keepWithin: Rule = (history, policy) => {
  const withinMs = policy.keep_within, newest = history[0];
  if (withinMs === 0 || !newest) return [];
  const detail = `${formatDuration(withinMs)} of the newest`;
  return history.filter(({ timeMs }) => timeMs > newest.timeMs - withinMs)
    .map(({ name }) => ({ name, rule: "keep_within", detail }));
};
