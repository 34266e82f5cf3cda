/** Reads the reports of `deno test --junit-path`. */

/** What ran. */
export interface Counts {
  passed: number;
  failed: string[];
  skipped: string[];
}

export function emptyCounts(): Counts {
  return { passed: 0, failed: [], skipped: [] };
}

/** Adds `more` to `total`. */
export function add(total: Counts, more: Counts): void {
  total.passed += more.passed;
  total.failed.push(...more.failed);
  total.skipped.push(...more.skipped);
}

const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi,
    (whole, hex, decimal, name) =>
      hex
        ? String.fromCodePoint(parseInt(hex, 16))
        : decimal
        ? String.fromCodePoint(Number(decimal))
        : ENTITIES[name] ?? whole,
  );
}

/**
 * Counts test cases. Deno writes attributes with escaped quotes, so a case's opening tag
 * ends at the first `>` outside quotes.
 *
 * @param xml a whole report
 * @throws {Error} when it is no JUnit report
 */
export function parseJUnit(xml: string): Counts {
  if (!xml.includes("<testsuites")) throw new Error("Not a JUnit report");
  const counts = emptyCounts();
  const cases = /<testcase((?:\s+[\w:.-]+="[^"]*")*)\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const [, attributes, body = ""] of xml.matchAll(cases)) {
    const get = (name: string) =>
      unescape(attributes!.match(new RegExp(`\\s${name}="([^"]*)"`))?.[1] ?? "?");
    const title = `${get("classname")}: ${get("name")}`;
    if (/<(failure|error)\b/.test(body)) counts.failed.push(title);
    else if (/<skipped\b/.test(body)) counts.skipped.push(title);
    else counts.passed++;
  }
  return counts;
}

/** `N passed, N failed`, and `, N skipped` when some were. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  const end = skipped.length > 0 ? `, ${skipped.length} skipped` : "";
  return `${passed} passed, ${failed.length} failed${end}`;
}
