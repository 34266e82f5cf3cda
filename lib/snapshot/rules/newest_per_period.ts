import type { Period } from "./calendar.ts";
import type { Dated } from "./dated.ts";

/** The newest snapshot of each period that has one, newest first. */
export function newestPerPeriod(history: readonly Dated[], period: Period): Dated[] {
  const newest: Dated[] = [];
  let last: number | null = null;
  for (const snapshot of history) {
    const at = period.of(snapshot.timeMs);
    if (at !== last) newest.push(snapshot);
    last = at;
  }
  return newest;
}
