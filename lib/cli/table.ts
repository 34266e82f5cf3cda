/** Columns of text for people. */

/**
 * A table with aligned columns, two spaces apart.
 *
 * @param header column titles
 * @param rows as many cells each; cells of `right` columns are aligned to the right
 * @param right indices of right-aligned columns
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const all = [header, ...rows.map((row) => row.map(visible))];
  const widths = header.map((_, i) => Math.max(...all.map((row) => width(row[i] ?? ""))));
  return all.map((row) =>
    row.map((cell, i) => {
      const pad = " ".repeat(widths[i]! - width(cell));
      return right.includes(i) ? pad + cell : cell + pad;
    }).join("  ").trimEnd()
  ).join("\n");
}

const COLOUR = new RegExp(String.raw`\x1b\[\d+m`, "g");
const CONTROL_BUT_COLOUR = new RegExp(String.raw`(?!\x1b\[\d+m)\p{Cc}`, "gu");

/** Columns that a text takes; control sequences for colour take none. */
function width(text: string): number {
  return [...text.replace(COLOUR, "")].length;
}

/** Control characters (but our own colours) made visible: cells hold outside data. */
export function visible(text: string): string {
  return text.replace(
    CONTROL_BUT_COLOUR,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}
