import { PERIODS } from "./calendar.ts";
import type { Keep, Rule } from "./dated.ts";
import { newestPerPeriod } from "./newest_per_period.ts";

/**
 * keep_hourly to keep_yearly: for the last N periods that have a snapshot, the newest of
 * each. Where there are fewer periods than N, the oldest snapshot is kept too, so that the
 * history grows to its full length (restic's rule).
 */
export const keepPeriods: Rule = (history, policy) => {
  const kept: Keep[] = [];
  for (const period of PERIODS) {
    const count = policy[`keep_${period.name}`];
    const newest = newestPerPeriod(history, period).slice(0, count);
    newest.forEach(({ name, timeMs }, i) => {
      const detail = `${period.label(timeMs)}, ${i + 1} of ${count}`;
      kept.push({ name, rule: `keep_${period.name}`, detail });
    });
    const oldest = history.at(-1);
    if (oldest && newest.length < count && newest.at(-1) !== oldest) {
      kept.push({ name: oldest.name, rule: `keep_${period.name}`, detail: "the oldest" });
    }
  }
  return kept;
};
