/** The nearest of some known words, for "did you mean". */

/** Further away than this, a suggestion confuses more than it helps. */
const MAX_DISTANCE = 2;

/**
 * @param word what was written
 * @param known what would be right
 * @returns the nearest, or undefined where none is near
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined, bestDistance = MAX_DISTANCE + 1;
  for (const candidate of known) {
    const distance = editDistance(word.slice(0, 64), candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substitution));
    }
    row = next;
  }
  return row[b.length]!;
}
