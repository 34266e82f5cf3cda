/** The nearest of some words to a mistyped one: for "did you mean". */

/** Edits after which a guess is no help any more. */
const MAX_EDITS = 3;

/**
 * @param typed what was typed
 * @param known what would have been right
 * @returns the nearest by Levenshtein distance; null when none is near
 */
export function nearest(typed: string, known: readonly string[]): string | null {
  let best: string | null = null, least = MAX_EDITS + 1;
  for (const word of known) {
    if (Math.abs(word.length - typed.length) >= least) continue;
    const edits = distance(typed, word);
    if (edits < least) [best, least] = [word, edits];
  }
  return best;
}

/** Levenshtein distance, two rows at a time. */
function distance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      row.push(Math.min(row[j - 1]! + 1, above[j]! + 1, above[j - 1]! + same));
    }
    above = row;
  }
  return above[b.length]!;
}
