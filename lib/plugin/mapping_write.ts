/** Mapping tables as TOML text, as a person would write them. */

/** One table of a mapping: its header and its lines. */
export interface Block {
  /** The header without brackets, e.g. `methods.get_zones`. */
  readonly name: string;
  /** The whole text, header and comments included, ending in a newline. */
  readonly text: string;
}

const WIDTH = 90;

/** A value in TOML; inline tables and arrays on one line. */
export function tomlValue(value: unknown): string {
  if (typeof value === "string") return tomlString(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(", ")}]`;
  const entries = Object.entries(value as object).filter(([, v]) => v !== undefined);
  return `{ ${entries.map(([k, v]) => `${tomlKey(k)} = ${tomlValue(v)}`).join(", ")} }`;
}

/** A basic string; JSON's escapes are TOML's, but for U+007F. */
function tomlString(text: string): string {
  return JSON.stringify(text.toWellFormed()).replaceAll("\u007f", "\\u007F");
}

function tomlKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : tomlString(key);
}

/** `key = value`; a long array goes over several lines. */
function assignment(key: string, value: unknown): string {
  const line = `${key} = ${tomlValue(value)}`;
  if (line.length <= WIDTH || !Array.isArray(value)) return line;
  return `${key} = [\n${value.map((item) => `  ${tomlValue(item)},\n`).join("")}]`;
}

/** A table's text from its entries, in their order; those that are undefined are left out. */
export function block(
  name: string,
  entries: Readonly<Record<string, unknown>>,
  comment?: string,
): Block {
  const lines = Object.entries(entries).filter(([, value]) => value !== undefined)
    .map(([key, value]) => assignment(key, value));
  const note = comment === undefined
    ? ""
    : comment.split("\n").map((l) => `# ${l}\n`).join("");
  return { name, text: `${note}[${name}]\n${lines.join("\n")}\n` };
}

/** A file of blocks. */
export function joinBlocks(preamble: string, blocks: readonly Block[]): string {
  const parts = [preamble.trimEnd(), ...blocks.map(({ text }) => text.trimEnd())];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/**
 * Takes a file apart into what comes before the first table, and the tables with the
 * comments above them.
 */
export function splitBlocks(text: string): { preamble: string; blocks: Block[] } {
  const lines = text.split("\n");
  const starts: { line: number; name: string }[] = [];
  lines.forEach((line, i) => {
    const header = /^\s*\[\[?\s*([^\]#]+?)\s*\]\]?\s*(#.*)?$/.exec(line);
    // A line of an array may look like a header; a header's line has a name in it.
    if (!header || !/^["'\w]/.test(header[1]!)) return;
    let start = i;
    while (start > 0 && lines[start - 1]!.startsWith("#")) start--;
    starts.push({ line: start, name: header[1]! });
  });
  const cut = (from: number, to: number) => lines.slice(from, to).join("\n").trimEnd();
  const blocks = starts.map(({ line, name }, i) => ({
    name,
    text: `${cut(line, starts[i + 1]?.line ?? lines.length)}\n`,
  }));
  return { preamble: cut(0, starts[0]?.line ?? lines.length), blocks };
}
