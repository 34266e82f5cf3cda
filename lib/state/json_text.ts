/**
 * JSON written by people: duplicate keys and too deep nesting are refused with line and
 * JSON pointer, integers that a double cannot hold keep their digits.
 */
import { InputError } from "../base/errors.ts";
import { childPointer, type Json } from "../dbus/value.ts";

const MAX_DEPTH = 64;

/**
 * Parses JSON.
 *
 * @param text the document
 * @param file its name, for messages
 * @throws {InputError} `bad_json`, with the line
 */
export function parseJsonText(text: string, file: string): Json {
  const nested = findNesting(text, file);
  if (nested) throw nested;
  let value: Json;
  try {
    value = JSON.parse(text, keepDigits as (key: string, value: Json) => Json) as Json;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw bad(file, text, syntaxPlace(error, text), `not JSON: ${syntaxReason(error)}`);
  }
  findDuplicates(text, file);
  return value;
}

/** A 64-bit number's digits as a string, which is how value.ts writes them. */
function keepDigits(_key: string, value: Json, context: { source?: string }): Json {
  const { source } = context;
  if (typeof value !== "number" || source === undefined) return value;
  return /^-?\d+$/.test(source) && !Number.isSafeInteger(value) ? source : value;
}

function bad(file: string, text: string, at: number, why: string): InputError {
  const line = text.slice(0, at).split("\n").length;
  return new InputError("bad_json", `${file}:${line}: ${why}`, {
    hint: "correct the file; a linter for JSON shows the place",
  });
}

function syntaxPlace(error: SyntaxError, text: string): number {
  const match = /position (\d+)/.exec(error.message);
  return match ? Number(match[1]) : text.length;
}

function syntaxReason(error: SyntaxError): string {
  return error.message.replace(/\s*\(?(in JSON )?at position.*$/s, "").replaceAll(
    "\n",
    " ",
  )
    .slice(0, 120);
}

/** Deep nesting, found before the parser or a walker recurses into it. */
function findNesting(text: string, file: string): InputError | null {
  let depth = 0;
  for (const { at, kind } of tokens(text)) {
    if (kind === "{" || kind === "[") depth++;
    else if (kind === "}" || kind === "]") depth--;
    if (depth > MAX_DEPTH) {
      return bad(file, text, at, `nested more than ${MAX_DEPTH} deep`);
    }
  }
  return null;
}

interface Token {
  readonly at: number;
  readonly end: number;
  readonly kind: string;
}

/** Brackets, commas, colons and strings; enough to follow valid JSON. */
function* tokens(text: string): Generator<Token> {
  const pattern = /[{}[\],:]|"(?:[^"\\]|\\.)*"?/gs;
  for (const match of text.matchAll(pattern)) {
    yield { at: match.index, end: match.index + match[0].length, kind: match[0][0]! };
  }
}

interface Level {
  readonly keys: Set<string> | null;
  readonly pointer: string;
  expectsKey: boolean;
  index: number;
  key: string;
}

/** Walks text that is valid JSON. @throws {InputError} at the first key that comes twice */
function findDuplicates(text: string, file: string): void {
  const stack: Level[] = [];
  for (const { at, end, kind } of tokens(text)) {
    const top = stack.at(-1);
    if (kind === "{" || kind === "[") {
      const pointer = top
        ? childPointer(top.pointer, top.keys ? top.key : top.index)
        : "";
      stack.push({
        keys: kind === "{" ? new Set() : null,
        pointer,
        expectsKey: kind === "{",
        index: 0,
        key: "",
      });
    } else if (kind === "}" || kind === "]") stack.pop();
    else if (kind === "," && top) {
      top.index++;
      top.expectsKey = top.keys !== null;
    } else if (kind === ":" && top) top.expectsKey = false;
    else if (kind === '"' && top?.expectsKey) {
      top.key = JSON.parse(text.slice(at, end)) as string;
      if (top.keys!.has(top.key)) {
        const pointer = childPointer(top.pointer, top.key);
        throw bad(file, text, at, `the key at ${pointer} comes twice`);
      }
      top.keys!.add(top.key);
    }
  }
}
