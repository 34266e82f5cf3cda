/**
 * Which versions to have: a backtracking search over what is installed and what the
 * repositories offer, with the reason told when there is no answer.
 */
import { OpError } from "../base/errors.ts";
import type { NameRange } from "./names.ts";
import { compareVersions, inRange, isExact, isPrerelease } from "./versions.ts";

/** A version of a plugin that could be had. */
export interface Candidate<Origin = unknown> {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly NameRange[];
  /** Active on this host now. */
  readonly installed: boolean;
  /** Why nobody should install it any more. */
  readonly yanked?: string | undefined;
  /** What the host lacks for it; one with anything here is not taken. */
  readonly missing?: readonly string[];
  readonly origin: Origin;
}

/** What to resolve. */
export interface ResolveInput<Origin> {
  /** What is asked for. */
  readonly goals: readonly NameRange[];
  /** What is active now: it stays, perhaps in another version. */
  readonly installed: readonly Candidate<Origin>[];
  /** What could be had of a plugin; in order of preference where versions are equal. */
  readonly available: (name: string) => readonly Candidate<Origin>[];
  /** True for plugins that should become as new as they can. */
  readonly prefersNewest: (name: string) => boolean;
}

interface Constraint {
  /** Who wants it, for messages. */
  readonly by: string;
  readonly range: string;
}

interface Conflict {
  readonly name: string;
  readonly constraints: readonly Constraint[];
  readonly depth: number;
}

/** Steps after which the search gives up; real sets take some dozens. */
const MAX_STEPS = 50_000;
const MAX_SHOWN = 8;

/**
 * @returns one candidate per plugin, dependencies before what depends on them
 * @throws {OpError} `unresolvable` with who wants what, `too_complex`
 */
export function resolve<Origin>(input: ResolveInput<Origin>): Candidate<Origin>[] {
  return new Search(input).run();
}

class Search<Origin> {
  readonly #pools = new Map<string, readonly Candidate<Origin>[]>();
  readonly #goals: ReadonlyMap<string, string>;
  readonly #installed: ReadonlyMap<string, Candidate<Origin>>;
  #steps = 0;
  #conflict: Conflict | null = null;

  constructor(readonly input: ResolveInput<Origin>) {
    this.#goals = new Map(input.goals.map(({ name, range }) => [name, range]));
    this.#installed = new Map(input.installed.map((one) => [one.name, one]));
  }

  run(): Candidate<Origin>[] {
    const wanted = new Map<string, Constraint[]>();
    for (const { name, range } of this.input.goals) {
      wanted.set(name, [...wanted.get(name) ?? [], { by: "the command", range }]);
    }
    for (const { name } of this.input.installed) {
      if (!wanted.has(name)) wanted.set(name, []);
    }
    const found = this.#solve(new Map(), wanted);
    if (!found) throw this.#unresolvable();
    return inOrder(found);
  }

  #solve(
    chosen: ReadonlyMap<string, Candidate<Origin>>,
    wanted: ReadonlyMap<string, readonly Constraint[]>,
  ): ReadonlyMap<string, Candidate<Origin>> | null {
    if (++this.#steps > MAX_STEPS) {
      throw new OpError("too_complex", "Cannot resolve: too many combinations to try", {
        hint: "name exact versions, or fewer plugins at once",
      });
    }
    const next = this.#next(chosen, wanted);
    if (next === null) return chosen;
    const { name, fitting } = next;
    if (fitting.length === 0) this.#note(name, wanted.get(name)!, chosen.size);
    for (const candidate of fitting) {
      const more = new Map(wanted);
      let clash = false;
      for (const { name: dependency, range } of candidate.dependencies) {
        const by = `${name}@${candidate.version}${
          candidate.installed ? " (installed)" : ""
        }`;
        const constraints = [...more.get(dependency) ?? [], { by, range }];
        more.set(dependency, constraints);
        const there = chosen.get(dependency);
        if (there && !fits(there, range)) {
          this.#note(dependency, constraints, chosen.size);
          clash = true;
        }
      }
      if (clash) continue;
      const found = this.#solve(new Map(chosen).set(name, candidate), more);
      if (found) return found;
    }
    return null;
  }

  /**
   * What was asked for first, so that it gets the newest version there is; then the open
   * plugin with the fewest candidates, so that conflicts show early.
   */
  #next(
    chosen: ReadonlyMap<string, unknown>,
    wanted: ReadonlyMap<string, readonly Constraint[]>,
  ): { name: string; fitting: Candidate<Origin>[] } | null {
    let best: { name: string; fitting: Candidate<Origin>[] } | null = null;
    for (const [name, constraints] of wanted) {
      if (chosen.has(name)) continue;
      const fitting = this.#pool(name).filter((candidate) =>
        constraints.every(({ range }) => fits(candidate, range))
      );
      const goal = this.#goals.has(name);
      if (best && this.#goals.has(best.name) && !goal) continue;
      const sooner = !best || (goal && !this.#goals.has(best.name)) ||
        fitting.length < best.fitting.length;
      if (sooner) best = { name, fitting };
    }
    return best;
  }

  /** Everything that may be chosen of a plugin, most wanted first. */
  #pool(name: string): readonly Candidate<Origin>[] {
    const known = this.#pools.get(name);
    if (known) return known;
    const installed = this.#installed.get(name);
    const goal = this.#goals.get(name);
    const named = goal !== undefined && goal !== "*";
    const others = this.input.available(name).filter((candidate) =>
      (candidate.missing ?? []).length === 0 &&
      (candidate.yanked === undefined || (named && isExact(goal))) &&
      // Nothing goes back to an older version unless that is what was asked for.
      (!installed || named ||
        compareVersions(candidate.version, installed.version) > 0) &&
      candidate.version !== installed?.version
    );
    const newest = [...others, ...(installed ? [installed] : [])].sort((a, b) =>
      compareVersions(b.version, a.version)
    );
    const keep = installed && goal === undefined && !this.input.prefersNewest(name);
    const pool = keep ? [installed, ...newest.filter((c) => c !== installed)] : newest;
    this.#pools.set(name, pool);
    return pool;
  }

  /** The first conflict at the greatest depth says most. */
  #note(name: string, constraints: readonly Constraint[], depth: number): void {
    if (this.#conflict && this.#conflict.depth >= depth) return;
    this.#conflict = { name, constraints, depth };
  }

  #unresolvable(): OpError {
    const { name, constraints } = this.#conflict!;
    const everything = [...this.input.available(name)];
    const installed = this.#installed.get(name);
    if (installed) everything.push(installed);
    const wants = constraints.map(({ by, range }) => `${by} wants ${range}`).join(", ");
    if (everything.length === 0) {
      return new OpError("unresolvable", `No repository has ${name} (${wants})`, {
        hint: "check the name with: op-dbus repo search, or run: op-dbus repo update",
      });
    }
    const seen = new Set<string>();
    const there = everything
      .sort((a, b) => compareVersions(b.version, a.version))
      .filter(({ version }) => !seen.has(version) && seen.add(version))
      .map((candidate) => candidate.version + remark(candidate));
    const more = there.length > MAX_SHOWN ? `, and ${there.length - MAX_SHOWN} more` : "";
    return new OpError(
      "unresolvable",
      `No version of ${name} fits: ${wants}; there are ` +
        there.slice(0, MAX_SHOWN).join(", ") + more,
      { hint: hintFor(everything, constraints) },
    );
  }
}

/** What is installed counts for any range that its release is in, pre-release or not. */
function fits(candidate: Candidate, range: string): boolean {
  return inRange(candidate.version, range, candidate.installed);
}

function remark(candidate: Candidate): string {
  if (candidate.installed) return " (installed)";
  if (candidate.yanked !== undefined) return ` (yanked: ${candidate.yanked})`;
  const missing = candidate.missing ?? [];
  return missing.length > 0 ? ` (this host lacks ${missing.join(", ")})` : "";
}

function hintFor(
  there: readonly Candidate[],
  constraints: readonly Constraint[],
): string {
  const ranges = constraints.map(({ range }) => range);
  const would = (candidate: Candidate) =>
    ranges.every((range) => inRange(candidate.version, range, true));
  if (there.some((c) => would(c) && isPrerelease(c.version) && !c.installed)) {
    return "a pre-release would fit: name it, like NAME@2.0.0-rc.1";
  }
  if (there.some((c) => would(c) && (c.missing ?? []).length > 0)) {
    return "install what this host lacks, then try again";
  }
  if (there.some((c) => would(c) && c.yanked !== undefined)) {
    return "a yanked version would fit: name it exactly if you must";
  }
  return constraints.length > 1
    ? "ask for another version, or remove one of those that want it"
    : "ask for another version, or run: op-dbus repo update";
}

/** Dependencies first; members of a cycle in the order of their names. */
function inOrder<Origin>(
  chosen: ReadonlyMap<string, Candidate<Origin>>,
): Candidate<Origin>[] {
  const done = new Set<string>(), ordered: Candidate<Origin>[] = [];
  const visit = (name: string) => {
    const candidate = chosen.get(name);
    if (!candidate || done.has(name)) return;
    done.add(name);
    for (const dependency of candidate.dependencies) visit(dependency.name);
    ordered.push(candidate);
  };
  for (const name of [...chosen.keys()].sort()) visit(name);
  return ordered;
}
