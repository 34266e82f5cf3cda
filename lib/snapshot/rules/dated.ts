/** What retention rules work on: names and times, nothing else. */
import type { Policy } from "../policy.ts";

/** A snapshot as rules see it. */
export interface Dated {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
}

/** One reason to keep a snapshot. */
export interface Keep {
  readonly name: string;
  /** The rule, as the config calls it. */
  readonly rule: string;
  /** What it matched: `3 of 24`, `2025-01-15`. */
  readonly detail: string;
}

/**
 * A rule: from names and times to reasons to keep.
 *
 * @param history newest first; none from the future
 * @param policy the numbers
 * @param nowMs the time of the run
 */
export type Rule = (
  history: readonly Dated[],
  policy: Policy,
  nowMs: number,
) => Keep[];
