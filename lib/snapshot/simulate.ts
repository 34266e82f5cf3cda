/** `snapshot plan`: which snapshots would exist over time under a policy. Pure. */
import { InputError } from "../base/errors.ts";
import { decide } from "./decide.ts";
import { snapshotName } from "./name.ts";
import type { Policy } from "./policy.ts";

/** What to play through. */
export interface Simulation {
  readonly policy: Policy;
  /** Time between runs. */
  readonly everyMs: number;
  /** How long they go on. */
  readonly forMs: number;
  /** When the first one is. */
  readonly startMs: number;
}

/** The state after one run. */
export interface SimulatedStep {
  readonly timeMs: number;
  /** Times of the snapshots that exist, oldest first. */
  readonly existMs: readonly number[];
}

/** What a simulation found. */
export interface Simulated {
  readonly runs: number;
  /** The most that existed at once, after pruning. */
  readonly most: number;
  /** States evenly spread over time, the last one included. */
  readonly steps: readonly SimulatedStep[];
}

/** A run every hour for 11 years; more would take minutes and show nothing new. */
const MAX_RUNS = 100_000;

/**
 * Plays rotations through.
 *
 * @param steps how many states to return
 * @throws {InputError} `too_many_runs`
 */
export function simulate(what: Simulation, steps = 24): Simulated {
  const runs = Math.floor(what.forMs / what.everyMs) + 1;
  if (!(what.everyMs > 0) || runs > MAX_RUNS) {
    throw new InputError("too_many_runs", `Cannot play ${runs} rotations through`, {
      hint: `take a longer --every or a shorter --for: at most ${MAX_RUNS} runs`,
    });
  }
  let times: number[] = [], most = 0;
  const taken: SimulatedStep[] = [];
  for (let run = 0; run < runs; run++) {
    const nowMs = what.startMs + run * what.everyMs;
    times = survivors([...times, nowMs], what.policy, nowMs);
    most = Math.max(most, times.length);
    const due = Math.floor(((run + 1) * steps) / runs) > Math.floor((run * steps) / runs);
    if (due || run === runs - 1) taken.push({ timeMs: nowMs, existMs: times });
  }
  return { runs, most, steps: taken.slice(-steps) };
}

function survivors(times: readonly number[], policy: Policy, nowMs: number): number[] {
  const candidates = times.map((timeMs) => ({
    name: snapshotName("s", timeMs, "millisecond"),
    timeMs,
    holds: [],
    problem: null,
  }));
  return decide(candidates, policy, nowMs)
    .flatMap(({ action, timeMs }) =>
      action === "keep" && timeMs !== null ? [timeMs] : []
    );
}
