/**
 * Which regular expressions take a time that grows with the text's length and no faster.
 *
 * The engine goes back over what it has matched when a later piece fails. That is cheap
 * where what it goes back over is bounded, or where nothing after it can fail. So an
 * alternative may have repetitions without a limit
 *
 * - after all that can fail: it never goes back, and pays for what it takes; or
 * - one of a single character before it, a scan, with one character at most ahead of it,
 *   provided that the next alternative begins in the same way and takes the whole run.
 *   Then a scan that finds nothing is followed by a match of all that it looked at, and
 *   one that finds something is the last to succeed in its run.
 *   `\s*[\r\n]+|\s+(?!\S)|\s+` is of this kind.
 *
 * Everything else is refused: (a+)+ needs a time of 2^n, \s+$ one of n^2 for n spaces.
 */
import { type Item, readRegex, UnsafeRegex } from "./regex_read.ts";

/** Ways to match, and steps for them, from one place in the text. */
const MAX_STEPS = 1_000;

/** What a sequence costs. */
interface Cost {
  /** Ways to match from one place; without the repetitions that have no limit. */
  readonly ways: number;
  /** Steps for trying all of them, likewise. */
  readonly steps: number;
  /** Has a repetition without a limit. */
  readonly runs: boolean;
  /** Something after such a repetition may fail. */
  readonly scans: boolean;
  /** The start up to and with the first such repetition, and its least count. */
  readonly start: { readonly key: string; readonly min: number } | null;
}

/**
 * Checks that an expression takes linear time in every text.
 *
 * @param source of a `RegExp` with the flag `u`
 * @throws {UnsafeRegex} with the reason, where that is not certain
 */
export function requireLinear(source: string): void {
  const alternatives = unwrapped(readRegex(source));
  const costs = alternatives.map(costOf);
  within(costs.reduce((sum, { steps }) => sum + steps, 0));
  costs.forEach((cost, at) => {
    const next = costs[at + 1];
    if (!cost.scans) return;
    if (next?.start?.key === cost.start!.key && (next.scans || next.start.min <= 1)) {
      return;
    }
    const scanned = alternatives[at]!.find(({ max }) => max === Infinity)!;
    throw new UnsafeRegex(`what follows ${scanned.source} may fail again and again`);
  });
}

/** Without parentheses around the whole. */
function unwrapped(alternatives: Item[][]): readonly (readonly Item[])[] {
  const [only] = alternatives[0]!;
  if (alternatives.length !== 1 || alternatives[0]!.length !== 1 || !only) {
    return alternatives;
  }
  const { atom, min, max } = only;
  const plain = atom.inner.length > 0 && !atom.assertion && min === 1 && max === 1;
  return plain ? atom.inner : alternatives;
}

function costOf(items: readonly Item[]): Cost {
  // An assertion always may fail; u allows none with a quantifier.
  const last = items.findLastIndex(({ min }) => min > 0);
  let ways = 1, steps = 0, runs = false, scans = false;
  let start: Cost["start"] = null;
  items.forEach((item, at) => {
    const { atom, min, max } = item;
    const one = atomCost(item);
    if (one.runs && (at < last || max > 1)) {
      throw new UnsafeRegex(`${item.source} repeats what has a repetition in it`);
    }
    if (max === Infinity) {
      if (at < last && scans) {
        throw new UnsafeRegex("it repeats twice what may fail later");
      }
      if (at < last && !(atom.single && isShort(items.slice(0, at)))) {
        throw new UnsafeRegex(`what follows ${item.source} may fail`);
      }
      if (!runs && atom.single) {
        const before = items.slice(0, at).map(({ source }) => source).join("");
        start = { key: JSON.stringify([before, atom.source]), min };
      }
      scans ||= at < last;
    }
    const repeated = repeat(one, min, max);
    steps = within(steps + ways * repeated.steps);
    ways = within(ways * repeated.ways);
    runs ||= one.runs || max === Infinity;
  });
  return { ways, steps, runs, scans, start };
}

/** One character or none. */
function isShort(items: readonly Item[]): boolean {
  return items.length === 0 ||
    (items.length === 1 && items[0]!.atom.single && items[0]!.max <= 1);
}

function atomCost({ atom }: Item): Pick<Cost, "ways" | "steps" | "runs"> {
  const inner = atom.inner.map(costOf);
  let ways = 0, steps = 1;
  for (const cost of inner) {
    if (cost.scans || (cost.runs && atom.assertion)) {
      throw new UnsafeRegex(`${atom.source} has a repetition that may fail later`);
    }
    ways += cost.ways;
    steps = within(steps + cost.steps);
  }
  const runs = inner.some((cost) => cost.runs);
  // No way back into a look around, and one way through a single character.
  const one = atom.single || atom.assertion || inner.length === 0;
  return { ways: one ? 1 : ways, steps, runs };
}

/** The bounded part of a repetition: what has no limit pays for what it takes. */
function repeat(
  { ways, steps }: { readonly ways: number; readonly steps: number },
  min: number,
  max: number,
): { ways: number; steps: number } {
  const most = max === Infinity ? Math.max(1, min) : max;
  let all = 0, total = 0, power = 1;
  for (let count = 0; count <= most; count++) {
    if (count >= min) all += power;
    if (count < most) total = within(total + power * steps);
    power *= ways;
  }
  return { ways: max === Infinity ? Math.max(1, power / ways) : all, steps: total };
}

function within(steps: number): number {
  if (steps <= MAX_STEPS) return steps;
  throw new UnsafeRegex("it can match in too many ways");
}
