/** Numbers that are the same for the same seed on every machine: 32-bit integer steps. */

/** A generator: each call gives the next number in [0, 1). */
export type Random = () => number;

/**
 * Mulberry32: 32 bits of state, every step exact in 32-bit integers.
 *
 * @param seed any number; its lowest 32 bits count
 */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Numbers around 0, even in ±(√3 × deviation).
 *
 * @param deviation standard deviation
 */
export function spread(random: Random, count: number, deviation: number): Float32Array {
  const out = new Float32Array(count);
  const width = 2 * Math.sqrt(3) * deviation;
  for (let i = 0; i < count; i++) out[i] = (random() - 0.5) * width;
  return out;
}
