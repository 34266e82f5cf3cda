/**
 * What a file in scripts/bench/ is made of. A figure alone says little about a shared
 * machine, so a bench measures its peer (the baseline, the kernel's own tool, the seed's
 * way) interleaved with the product in the same run and reports both as a ratio.
 *
 * A bench file exports `benches: Bench[]` and does nothing at import: scripts/bench.ts
 * imports every file to list the names, and heavy modules belong inside `run`.
 */

/** One figure, as `deno task bench --json` prints it. */
export interface Row {
  /** `<bench>` or `<bench>/<case>`, stable over releases. */
  name: string;
  /** The product's median. */
  value: number;
  /** What `value` is in: `ms`, `µs`, `texts/s`, `MB`, … */
  unit: string;
  /** Which way is good. */
  better: "lower" | "higher";
  /** What it was measured against in the same run, in words; null for none. */
  peer: string | null;
  /** `value` divided by the peer's median, same unit; null for no peer. */
  ratio: number | null;
  /** What the figure ought to be; see {@link wanted}. */
  target?: Target;
}

/** What a figure ought to be. Both limits may be given. */
export interface Target {
  readonly most?: number;
  readonly least?: number;
  /** What is compared with the limits; default the value. */
  readonly of?: "value" | "ratio";
  /** Why it cannot be met here, printed where it is missed. */
  readonly why?: string;
}

/** What a bench gets from the frame. */
export interface BenchContext {
  /** An empty folder on the file system of $TMPDIR, removed after the bench. */
  readonly scratch: string;
  /** Says something to the person watching (standard error); never a figure. */
  note(line: string): void;
}

/** One measurement that can be run by name. */
export interface Bench {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  run(context: BenchContext): Promise<Row[]>;
}

/** One thing to time: the product's way or its peer's. */
export type Candidate = () => unknown | Promise<unknown>;

/** How often {@link sideBySide} runs each candidate. */
export interface Rounds {
  /** Timed rounds; odd, so that the median is one of them. Default 11. */
  readonly rounds?: number;
  /** Rounds before those, not counted: caches, JIT. Default 2. */
  readonly warmup?: number;
  /** Calls within one round, for what takes microseconds. Default 1. */
  readonly calls?: number;
  /** Run before each candidate, not counted: a sync, so that none pays for another's. */
  readonly before?: () => void | Promise<void>;
}

/** The middle value (mean of the two middle ones for an even count). */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("Median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * Times candidates in turn (A, B, A, B, …), so that a slow moment of the machine hits
 * all of them alike.
 *
 * @returns the median of each, in milliseconds per call, in the candidates' order
 */
export async function sideBySide(
  candidates: readonly Candidate[],
  { rounds = 11, warmup = 2, calls = 1, before }: Rounds = {},
): Promise<number[]> {
  const times: number[][] = candidates.map(() => []);
  for (let round = -warmup; round < rounds; round++) {
    for (const [index, candidate] of candidates.entries()) {
      await before?.();
      const start = performance.now();
      for (let call = 0; call < calls; call++) {
        const result = candidate();
        if (result instanceof Promise) await result;
      }
      if (round >= 0) times[index]!.push((performance.now() - start) / calls);
    }
  }
  return times.map(median);
}

/** A row from a product's and a peer's median in the same unit. */
export function row(
  name: string,
  unit: string,
  better: Row["better"],
  value: number,
  peer?: { name: string; value: number },
): Row {
  return {
    name,
    value,
    unit,
    better,
    peer: peer?.name ?? null,
    ratio: peer ? value / peer.value : null,
  };
}

/** The row with a target: `deno task bench` prints whether it was met. */
export function wanted(found: Row, target: Target): Row {
  return { ...found, target };
}

/** True where a row's figure is within its target's limits. */
export function isMet({ value, ratio }: Row, target: Target): boolean {
  const figure = target.of === "ratio" ? ratio : value;
  if (figure === null) return false;
  return figure <= (target.most ?? Infinity) && figure >= (target.least ?? -Infinity);
}

/** A target in words: `at most 600`, `at least 3 ×`. */
export function limitsText({ most, least, of }: Target): string {
  const unit = of === "ratio" ? " ×" : "";
  return [
    most === undefined ? "" : `at most ${most}${unit}`,
    least === undefined ? "" : `at least ${least}${unit}`,
  ].filter(Boolean).join(", ");
}

/** `met (at most 600)`, or `MISSED (at least 3 × wanted): the reason`. */
export function verdict(found: Row, target: Target): string {
  const limits = limitsText(target);
  if (isMet(found, target)) return `met (${limits})`;
  return `MISSED (${limits} wanted)${target.why ? `: ${target.why}` : ""}`;
}
