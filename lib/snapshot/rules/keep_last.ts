import type { Rule } from "./dated.ts";

/** keep_last: the newest N. */
export const keepLast: Rule = (history, policy) =>
  history.slice(0, policy.keep_last).map(({ name }, i) => ({
    name,
    rule: "keep_last",
    detail: `${i + 1} of ${policy.keep_last}`,
  }));
