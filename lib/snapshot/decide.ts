/**
 * What a policy keeps and deletes, and why. Pure: from names, times and marks to decisions;
 * nothing here touches a disk or reads a clock.
 */
import { formatAge } from "../base/units.ts";
import { olderFirst } from "./name.ts";
import type { Policy } from "./policy.ts";
import type { Dated, Keep, Rule } from "./rules/dated.ts";
import { whenSpaceIsShort } from "./rules/free_space.ts";
import { keepLast } from "./rules/keep_last.ts";
import { keepMin } from "./rules/keep_min.ts";
import { keepPeriods } from "./rules/keep_periods.ts";
import { keepWithin } from "./rules/keep_within.ts";
import { keepWithinPeriods } from "./rules/keep_within_periods.ts";
import { minAge } from "./rules/min_age.ts";

const RULES: readonly Rule[] = [
  keepLast,
  keepPeriods,
  keepWithin,
  keepWithinPeriods,
  minAge,
];

/** Names are cut to the minute, and clocks of hosts differ a little. */
const FUTURE_TOLERANCE_MS = 2 * 60_000;

/** A snapshot to decide on. */
export interface Candidate {
  readonly name: string;
  /** The time in its name; null where that cannot be read. */
  readonly timeMs: number | null;
  /** Tags of its holds. */
  readonly holds: readonly string[];
  /** Why it is not op-dbus's to delete; null when it is. */
  readonly problem: string | null;
}

/** Why one is kept or deleted. */
export interface Reason {
  /** `keep_daily`, `hold`, `future`, `not_ours`, `clock`, `in_use`; `none` for a delete. */
  readonly rule: string;
  readonly detail: string;
}

/** What is to be done with one, and why. */
export interface Decision {
  readonly name: string;
  readonly timeMs: number | null;
  readonly action: "keep" | "delete";
  readonly reasons: readonly Reason[];
}

/**
 * Decides on every snapshot of a target.
 *
 * What is held, not recognised or from the future is kept. The future and the unrecognised
 * take no part in the rules, so that they displace nothing; held ones do.
 *
 * @param clock why the clock is not trusted; then nothing is deleted
 * @returns oldest first, those without a time last
 */
export function decide(
  candidates: readonly Candidate[],
  policy: Policy,
  nowMs: number,
  clock: string | null = null,
): Decision[] {
  const reasons = new Map<string, Reason[]>(candidates.map(({ name }) => [name, []]));
  const keep = ({ name, rule, detail }: Keep) =>
    reasons.get(name)!.push({ rule, detail });
  for (const one of candidates) {
    for (const reason of marks(one, nowMs, clock)) keep({ name: one.name, ...reason });
  }
  const history = datedHistory(candidates, nowMs);
  for (const rule of RULES) rule(history, policy, nowMs).forEach(keep);
  const kept = new Set(
    [...reasons].filter(([, r]) => r.length > 0).map(([name]) => name),
  );
  keepMin(history, kept, policy.keep_min).forEach(keep);
  return candidates.map(({ name, timeMs }): Decision => {
    const why = reasons.get(name)!;
    return why.length > 0
      ? { name, timeMs, action: "keep", reasons: why }
      : { name, timeMs, action: "delete", reasons: [NO_RULE] };
  }).sort(olderFirst);
}

const NO_RULE: Reason = { rule: "none", detail: "no rule keeps it" };

/** Reasons that have nothing to do with the policy. */
function marks(one: Candidate, nowMs: number, clock: string | null): Reason[] {
  const found = one.holds.map((tag): Reason => ({ rule: "hold", detail: tag }));
  if (one.problem !== null) found.push({ rule: "not_ours", detail: one.problem });
  else if (isFuture(one, nowMs)) {
    const ahead = formatAge(one.timeMs! - nowMs);
    found.push({ rule: "future", detail: `${ahead} ahead of the clock` });
  } else if (one.timeMs === null) {
    found.push({ rule: "not_ours", detail: "its name tells no time" });
  }
  if (clock !== null) found.push({ rule: "clock", detail: clock });
  return found;
}

function isFuture({ timeMs }: Candidate, nowMs: number): boolean {
  return timeMs !== null && timeMs > nowMs + FUTURE_TOLERANCE_MS;
}

/** What the rules look at, newest first. */
function datedHistory(candidates: readonly Candidate[], nowMs: number): Dated[] {
  return candidates
    .filter((one) => one.problem === null && !isFuture(one, nowMs))
    .flatMap(({ name, timeMs }) => timeMs === null ? [] : [{ name, timeMs }])
    .sort((a, b) => olderFirst(b, a));
}

/**
 * What may go beyond the decisions when space is short: oldest first, down to keep_min;
 * never what is held, not recognised, from the future or younger than min_age.
 */
export function spareable(decisions: readonly Decision[], policy: Policy): Dated[] {
  const kept = decisions.filter(({ action }) => action === "keep");
  const spared = new Set(
    kept.filter(({ reasons }) => reasons.some(({ rule }) => SPARED.has(rule)))
      .map(({ name }) => name),
  );
  const history = kept.flatMap(({ name, timeMs, reasons }) =>
    timeMs === null || reasons.some(({ rule }) => OUTSIDE.has(rule))
      ? []
      : [{ name, timeMs }]
  ).reverse();
  return whenSpaceIsShort(history, spared, policy.keep_min);
}

const OUTSIDE: ReadonlySet<string> = new Set(["not_ours", "future"]);
const SPARED: ReadonlySet<string> = new Set(["hold", "min_age", "clock", ...OUTSIDE]);
