/** Reproducible random numbers for tests: mulberry32, seeded. */

/** A generator of numbers in [0, 1). */
export type Random = () => number;

/** @param seed any whole number; the same seed gives the same numbers */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 to `below` - 1. */
export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

/** One of some values. */
export function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[below(random, values.length)]!;
}
