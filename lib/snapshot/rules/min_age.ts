import { formatDuration } from "../../base/units.ts";
import type { Rule } from "./dated.ts";

/** min_age: nothing younger than this, counted from now, is deleted. */
export const minAge: Rule = (history, policy, nowMs) => {
  if (policy.min_age === 0) return [];
  const detail = `younger than ${formatDuration(policy.min_age)}`;
  return history.filter(({ timeMs }) => nowMs - timeMs < policy.min_age)
    .map(({ name }) => ({ name, rule: "min_age", detail }));
};
