/**
 * What restic would keep, written from its manual (restic-forget(1) and "Removing snapshots
 * according to a policy"), sentence by sentence, without a look at lib/snapshot:
 *
 * - keep-last n: keep the n last (most recent) snapshots.
 * - keep-hourly n: for the last n hours which have one or more snapshots, keep only the
 *   most recent one for each hour. Likewise days, weeks, months, years.
 * - keep-within duration: keep all snapshots having a timestamp within the specified
 *   duration of the latest snapshot. keep-within-hourly: keep all hourly snapshots made
 *   within the specified duration of the latest snapshot. Likewise the others.
 * - The calendar-related options work on natural time boundaries; weeks are Monday 00:00
 *   to Sunday 23:59.
 * - If there are not enough snapshots to keep one for each duration related option, the
 *   oldest snapshot is kept additionally.
 */

/** Numbers by restic's own option names; hours for the within options. */
export type ResticPolicy = Readonly<Record<string, number>>;

function isoWeek(at: Date): string {
  const thursday = new Date(at);
  const weekday = (at.getUTCDay() + 6) % 7;
  thursday.setUTCDate(at.getUTCDate() - weekday + 3);
  const year = thursday.getUTCFullYear();
  const firstOfYear = Date.UTC(year, 0, 1);
  const number = 1 + Math.floor((thursday.getTime() - firstOfYear) / 604_800_000);
  return `${year}-W${number}`;
}

const NATURAL: Readonly<Record<string, (iso: string) => string>> = {
  hourly: (iso) => iso.slice(0, 13),
  daily: (iso) => iso.slice(0, 10),
  weekly: (iso) => isoWeek(new Date(iso)),
  monthly: (iso) => iso.slice(0, 7),
  quarterly: (iso) => iso.slice(0, 4) + "q" + Math.ceil(Number(iso.slice(5, 7)) / 3),
  yearly: (iso) => iso.slice(0, 4),
};

/** @param times of the snapshots, ISO 8601 in UTC, any order, none twice */
export function resticKeeps(times: readonly string[], policy: ResticPolicy): Set<string> {
  const keep = new Set<string>();
  const sorted = times.toSorted(), latest = sorted.at(-1), oldest = sorted[0];
  if (latest === undefined || oldest === undefined) return keep;
  const last = policy["last"] ?? 0;
  for (const iso of last > 0 ? sorted.slice(-last) : []) keep.add(iso);
  for (const [unit, key] of Object.entries(NATURAL)) {
    const groups = Object.groupBy(sorted, key);
    const mostRecent = Object.values(groups).map((group) => group!.at(-1)!).toSorted();
    const wanted = policy[unit] ?? 0;
    if (wanted > 0) {
      for (const iso of mostRecent.slice(-wanted)) keep.add(iso);
      if (mostRecent.length < wanted) keep.add(oldest);
    }
    const hours = policy[`within-${unit}`] ?? 0;
    const after = new Date(Date.parse(latest) - hours * 3_600_000).toISOString();
    if (hours > 0) {
      for (const iso of mostRecent) if (iso > after) keep.add(iso);
      if (oldest > after) keep.add(oldest);
    }
  }
  const hours = policy["within"] ?? 0;
  const after = new Date(Date.parse(latest) - hours * 3_600_000).toISOString();
  for (const iso of sorted) if (hours > 0 && iso > after) keep.add(iso);
  return keep;
}
