/**
 * Whether the clock can be trusted to delete by it. It is compared with the times that the
 * file system itself gave the snapshots (otime), which names and copies cannot change.
 */
import { formatAge } from "../base/units.ts";

/** The newest snapshot may be this much ahead: NTP steps, names cut to the minute. */
const BEHIND_TOLERANCE_MS = 2 * 60_000;
/** A gap as long as this may be a clock that jumped ahead, or a host that was off... */
const GAP_MS = 30 * 86_400_000;
/** ...unless it is about as long as the gap before it: a host that runs once a month. */
const USUAL = 2;
/** So nothing is deleted for this long after it: time for somebody to set the clock. */
const GRACE_MS = 86_400_000;

/**
 * @param otimesMs when each snapshot was made, by the file system's account
 * @param nowMs the clock
 * @returns why the clock is not trusted; null when it is
 */
export function clockProblem(otimesMs: readonly number[], nowMs: number): string | null {
  const times = [...otimesMs].sort((a, b) => a - b);
  const newest = times.at(-1);
  if (newest === undefined) return null;
  if (newest > nowMs + BEHIND_TOLERANCE_MS) {
    return `the clock is ${formatAge(newest - nowMs)} behind the newest snapshot`;
  }
  times.push(nowMs);
  for (let i = times.length - 1; i > 0; i--) {
    const gapMs = times[i]! - times[i - 1]!;
    const before = i > 1 ? times[i - 1]! - times[i - 2]! : 0;
    if (gapMs < GAP_MS || gapMs < USUAL * before) continue;
    if (nowMs - times[i]! >= GRACE_MS) return null;
    return `the clock may have jumped: ${formatAge(gapMs)} without a snapshot`;
  }
  return null;
}
