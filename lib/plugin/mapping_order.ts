/** Dependency order: what others come after is first; otherwise the order given. */

/** The result of {@link orderByDependency}. */
export interface Ordered {
  readonly ordered: string[];
  /** The names along one cycle, the first repeated at the end; undefined when none. */
  readonly cycle?: string[];
}

/**
 * Sorts names so that each comes after those that it names.
 *
 * @param names in the order to keep where nothing else decides
 * @param after the names that a name must come after; unknown ones are passed over
 */
export function orderByDependency(
  names: readonly string[],
  after: (name: string) => readonly string[],
): Ordered {
  const known = new Set(names);
  const done = new Set<string>();
  const ordered: string[] = [];
  // An explicit stack: a file may nest dependencies deeper than the call stack goes.
  for (const start of names) {
    const stack = [{ name: start, next: 0 }];
    const onStack = new Set([start]);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const dependency = done.has(top.name) ? undefined : after(top.name)[top.next++];
      if (dependency === undefined) {
        stack.pop();
        onStack.delete(top.name);
        if (!done.has(top.name)) ordered.push(top.name);
        done.add(top.name);
      } else if (onStack.has(dependency)) {
        const path = stack.map(({ name }) => name);
        return { ordered, cycle: [...path.slice(path.indexOf(dependency)), dependency] };
      } else if (known.has(dependency) && !done.has(dependency)) {
        stack.push({ name: dependency, next: 0 });
        onStack.add(dependency);
      }
    }
  }
  return { ordered };
}

/**
 * The shortest way from a name back to itself, the name at both ends; null when there is
 * none.
 *
 * @param after as for {@link orderByDependency}
 */
export function cycleThrough(
  name: string,
  after: (name: string) => readonly string[],
): string[] | null {
  const from = new Map<string, string>();
  const left = [name];
  for (const at of left) {
    for (const next of after(at)) {
      if (next === name) {
        const path = [name];
        for (let step = at; step !== name; step = from.get(step)!) path.unshift(step);
        return [name, ...path];
      }
      if (from.has(next)) continue;
      from.set(next, at);
      left.push(next);
    }
  }
  return null;
}
