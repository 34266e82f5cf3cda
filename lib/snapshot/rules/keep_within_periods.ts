import { formatDuration } from "../../base/units.ts";
import { PERIODS } from "./calendar.ts";
import type { Keep, Rule } from "./dated.ts";
import { newestPerPeriod } from "./newest_per_period.ts";

/**
 * keep_within_hourly to keep_within_yearly: the newest of each period, as far back from the
 * newest snapshot as this. The oldest of all is kept too when it is young enough.
 */
export const keepWithinPeriods: Rule = (history, policy) => {
  const kept: Keep[] = [], newest = history[0], oldest = history.at(-1);
  if (!newest || !oldest) return kept;
  for (const period of PERIODS) {
    const withinMs = policy[`keep_within_${period.name}`];
    if (withinMs === 0) continue;
    const rule = `keep_within_${period.name}`;
    const young = ({ timeMs }: { timeMs: number }) => timeMs > newest.timeMs - withinMs;
    const firsts = newestPerPeriod(history, period).filter(young);
    for (const { name, timeMs } of firsts) {
      const detail = `${period.label(timeMs)}, within ${formatDuration(withinMs)}`;
      kept.push({ name, rule, detail });
    }
    if (young(oldest) && firsts.at(-1) !== oldest) {
      kept.push({ name: oldest.name, rule, detail: "the oldest" });
    }
  }
  return kept;
};
