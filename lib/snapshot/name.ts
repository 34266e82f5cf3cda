/**
 * Names of snapshots: `cache@2025-01-15-10:00`, the time in UTC to the minute. A second one
 * in that minute adds `:SS`, another in that second `:SS.mmm`.
 */

const PATTERN = /^(\d{4})-(\d{2})-(\d{2})-(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{3}))?)?$/;

const two = (n: number) => String(n).padStart(2, "0");

/** How precise a name's time is. */
export type NamePrecision = "minute" | "second" | "millisecond";

/** The name of a snapshot made at a time. */
export function snapshotName(
  prefix: string,
  timeMs: number,
  precision: NamePrecision = "minute",
): string {
  const at = new Date(timeMs);
  const year = String(at.getUTCFullYear()).padStart(4, "0");
  const day = `${year}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  const name = `${prefix}@${day}-${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  if (precision === "minute") return name;
  const second = `${name}:${two(at.getUTCSeconds())}`;
  if (precision === "second") return second;
  return `${second}.${String(at.getUTCMilliseconds()).padStart(3, "0")}`;
}

/**
 * The time that a name tells.
 *
 * @returns milliseconds since 1970; null when it is no such name, or no such day
 */
export function snapshotTime(prefix: string, name: string): number | null {
  if (!name.startsWith(`${prefix}@`)) return null;
  const match = PATTERN.exec(name.slice(prefix.length + 1));
  if (!match) return null;
  const [year, month, day, hour, minute, second, ms] = match.slice(1).map((part) =>
    part === undefined ? 0 : Number(part)
  ) as [number, number, number, number, number, number, number];
  const timeMs = Date.UTC(year, month - 1, day, hour, minute, second, ms);
  const precision = match[7] ? "millisecond" : match[6] ? "second" : "minute";
  return snapshotName(prefix, timeMs, precision) === name ? timeMs : null;
}

const PRECISIONS = ["minute", "second", "millisecond"] as const;

/**
 * Older snapshots first; names that tell no time last. In a minute's first second several
 * names tell the same time, and the shortest one was given first.
 *
 * @returns below 0 when `a` is the older one
 */
export function olderFirst(
  a: { readonly name: string; readonly timeMs: number | null },
  b: { readonly name: string; readonly timeMs: number | null },
): number {
  const [at, bt] = [a.timeMs ?? Infinity, b.timeMs ?? Infinity];
  return at !== bt ? at - bt : a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/**
 * The names that a new snapshot may have, shortest first: free ones, and none that would
 * stand before the newest one that is there. Else the minute's name, once its owner is
 * deleted, would go to newer content, which policies would take for the oldest.
 *
 * @param taken the names that are there, of whatever kind
 * @returns at least one, to the millisecond
 */
export function namesFor(
  prefix: string,
  timeMs: number,
  taken: Iterable<string>,
): string[] {
  const there = new Set<string>();
  const minute = snapshotName(prefix, timeMs, "minute");
  let newest = { name: "", timeMs: -Infinity };
  for (const name of taken) {
    // In another minute: before the time of all three names, or from the future.
    if (!name.startsWith(minute)) continue;
    there.add(name);
    const atMs = snapshotTime(prefix, name);
    if (atMs === null || atMs > timeMs) continue;
    const one = { name, timeMs: atMs };
    if (olderFirst(newest, one) < 0) newest = one;
  }
  const names = PRECISIONS.map((precision) => snapshotName(prefix, timeMs, precision));
  const fit = names.filter((name) =>
    !there.has(name) &&
    olderFirst(newest, { name, timeMs: snapshotTime(prefix, name) }) < 0
  );
  return fit.length > 0 ? fit : names.slice(-1);
}
