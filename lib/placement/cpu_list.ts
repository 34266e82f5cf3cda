/** The kernel's lists of numbers, `0-3,8,10-11` (cpulist, nodelist). */

/** Numbers past this are nobody's CPU or node. */
const MAX_NUMBER = 65_535;

/**
 * The numbers of a list, ascending; none for an empty one.
 *
 * @throws {RangeError} when it is no such list
 */
export function parseList(text: string): number[] {
  const numbers = new Set<number>();
  for (const part of text.trim().split(",")) {
    if (part === "") continue;
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    const from = Number(match?.[1]), to = Number(match?.[2] ?? match?.[1]);
    if (!match || to < from || to > MAX_NUMBER) {
      throw new RangeError(`Not a list of CPUs or nodes: ${JSON.stringify(text)}`);
    }
    for (let n = from; n <= to; n++) numbers.add(n);
  }
  return [...numbers].sort((a, b) => a - b);
}

/** Numbers as the kernel writes them. */
export function formatList(numbers: readonly number[]): string {
  const parts: string[] = [];
  const sorted = [...numbers].sort((a, b) => a - b);
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (sorted[end + 1] === sorted[end]! + 1) end++;
    parts.push(end === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return parts.join(",");
}
