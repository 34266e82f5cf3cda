/** A timeline of snapshots as one line of text. */

const COLUMNS = 72;
/** How many lie in one column: none, one, a few, many. */
const MARKS = ["·", "▪", "▮", "█"] as const;
const FEW = 1, MANY = 4;

/**
 * Draws times on a line from the oldest to now.
 *
 * @param timesMs any order
 * @param columns width of the picture
 */
export function timeline(
  timesMs: readonly number[],
  nowMs: number,
  columns = COLUMNS,
): string {
  const past = timesMs.filter((timeMs) => timeMs <= nowMs);
  if (past.length === 0) return "";
  const first = past.reduce((a, b) => Math.min(a, b));
  const spanMs = Math.max(1, nowMs - first);
  const counts = new Array<number>(columns).fill(0);
  for (const timeMs of past) {
    const column = Math.floor(((timeMs - first) / spanMs) * (columns - 1));
    counts[column]!++;
  }
  return counts.map((n) =>
    n === 0 ? MARKS[0] : n <= FEW ? MARKS[1] : n <= MANY ? MARKS[2] : MARKS[3]
  ).join("");
}

/** A timeline with its ends named. */
export function labelledTimeline(timesMs: readonly number[], nowMs: number): string {
  const line = timeline(timesMs, nowMs);
  if (line === "") return "";
  const first = timesMs.reduce((a, b) => Math.min(a, b));
  const from = new Date(first).toISOString().slice(0, 16).replace("T", " ");
  return `${line}\n${from}${"now".padStart(COLUMNS - from.length)}`;
}
