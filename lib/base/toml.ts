/** TOML with the place of everything: smol-toml, and where a key stands in the text. */
import { parse, TomlError, type TomlTable } from "smol-toml";
import { InputError } from "./errors.ts";
import { type Position, TomlPositions } from "./toml_positions.ts";

export type { TomlTable };

/** A document, or why and where it is none. */
export type ReadToml =
  | { readonly value: TomlTable }
  | { readonly value: null; readonly reason: string; readonly at: Position };

/** Reads TOML; the one place that does. */
export function readToml(text: string): ReadToml {
  try {
    return { value: parse(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, column } = error;
    const reason = error.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    return { value: null, reason, at: { line, column } };
  }
}

/**
 * Parses TOML.
 *
 * @param text the document
 * @param file its name, for messages
 * @throws {InputError} `invalid_toml` with file, line and column
 */
export function parseToml(text: string, file: string): TomlTable {
  const read = readToml(text);
  if (read.value) return read.value;
  const { reason, at: { line, column } } = read;
  throw new InputError(
    "invalid_toml",
    `Cannot parse ${file}:${line}:${column}: ${reason}`,
    { hint: "correct that line; TOML strings need quotes" },
  );
}

/**
 * Where a key is first written; meant for messages.
 *
 * @param text a document that parses
 * @param path the key's path, one element per part
 * @returns null when it is not there
 */
export function locateKey(text: string, path: readonly string[]): Position | null {
  return new TomlPositions(text).locate(path);
}
