/** TOML with the place of everything: smol-toml, and where a key stands in the text. */
import { parse, TomlError, type TomlTable } from "smol-toml";
import { InputError } from "./errors.ts";

export type { TomlTable };

/** Where something stands in a text file; both count from 1. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/**
 * Parses TOML.
 *
 * @param text the document
 * @param file its name, for messages
 * @throws {InputError} `invalid_toml` with file, line and column
 */
export function parseToml(text: string, file: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    throw new InputError(
      "invalid_toml",
      `Cannot parse ${file}:${error.line}:${error.column}: ${reason}`,
      { hint: "correct that line; TOML strings need quotes" },
    );
  }
}

/**
 * Where a key is first written in a valid TOML document. The parser keeps no positions, so
 * this parses the document line by line until the key appears; meant for error messages.
 *
 * @param text a document that parses
 * @param path the key's path, one element per part
 * @returns null when it is not there
 */
export function locateKey(text: string, path: readonly string[]): TextPlace | null {
  const lines = text.split("\n");
  let from = 0;
  for (let to = 1; to <= lines.length; to++) {
    const table = tryParse(lines.slice(0, to).join("\n"));
    if (table === null) continue;
    if (has(table, path)) return placeIn(lines, from, to, path.at(-1)!);
    from = to;
  }
  return null;
}

function placeIn(
  lines: string[],
  from: number,
  to: number,
  key: string,
): TextPlace {
  for (let line = from; line < to; line++) {
    const column = lines[line]!.indexOf(key);
    if (column >= 0) return { line: line + 1, column: column + 1 };
  }
  return { line: from + 1, column: 1 };
}

function tryParse(text: string): TomlTable | null {
  try {
    return parse(text);
  } catch {
    return null; // the middle of a value over several lines: the next line may end it
  }
}

function has(table: TomlTable, path: readonly string[]): boolean {
  let at: unknown = table;
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return false;
    at = (at as Record<string, unknown>)[part];
  }
  return true;
}
