/** TOML files of plugins, read with line and column for whatever is wrong in them. */
import { readToml } from "../base/toml.ts";
import * as v from "valibot";
import { type KeyPath, TomlPositions } from "../base/toml_positions.ts";
import { InvalidFileError, MAX_PROBLEMS, type Problem } from "./problems.ts";
import { nearest } from "../base/nearest.ts";

/** Largest TOML file that is read. */
export const MAX_TOML_BYTES = 1024 * 1024;

/** A parsed document that knows where its keys stand. */
export interface TomlDocument {
  readonly file: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** A problem at a key, or at the nearest parent that is written. */
  problem(path: KeyPath, message: string, severity?: Problem["severity"]): Problem;
}

/**
 * Parses TOML.
 *
 * @param text the document
 * @param file how to call it in messages
 * @param limitBytes refuses a longer one
 * @throws {InvalidFileError} with line and column of the syntax error
 */
export function parseToml(
  text: string,
  file: string,
  limitBytes = MAX_TOML_BYTES,
): TomlDocument {
  const whole = { file, line: 0, column: 0, key: "", severity: "error" as const };
  if (text.length > limitBytes) {
    throw new InvalidFileError([{
      ...whole,
      message: `larger than ${limitBytes} bytes`,
    }]);
  }
  const read = readToml(text);
  if (!read.value) {
    const message = `not TOML: ${read.reason}`;
    throw new InvalidFileError([{ ...whole, ...read.at, message }]);
  }
  const { value } = read;
  let positions: TomlPositions | undefined;
  return {
    file,
    value,
    problem(path, message, severity = "error") {
      positions ??= new TomlPositions(text);
      return { file, ...positions.find(path), key: dotted(path), severity, message };
    },
  };
}

/** `methods.create_container.args[0]` */
export function dotted(path: KeyPath): string {
  return path.map((part, i) =>
    typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${part}`
  ).join("");
}

/** What a check found: the value where there is no error, and every problem. */
export interface Checked<T> {
  readonly value: T | null;
  readonly problems: readonly Problem[];
}

/**
 * Checks a value of a document against a schema, collecting every problem; unknown keys
 * become warnings that name the nearest known one.
 *
 * @param schema what it must be
 * @param input the value, `document.value` or a part of it
 * @param document where it comes from
 * @param place the path of `input` in the document, or how a path in `input` maps to one
 */
export function checkAgainst<S extends v.GenericSchema>(
  schema: S,
  input: unknown,
  document: TomlDocument,
  place: (path: KeyPath) => KeyPath = (path) => path,
): Checked<v.InferOutput<S>> {
  const problems: Problem[] = [];
  // One message per value: the first rule that it breaks.
  const result = v.safeParse(schema, input, { abortPipeEarly: true });
  for (const issue of result.issues ?? []) {
    if (problems.length >= MAX_PROBLEMS) break;
    const path = (issue.path ?? []).map((item) => item.key as string | number);
    problems.push(document.problem(place(path), issueText(issue)));
  }
  for (const unknown of unknownKeys(schema as unknown as SchemaNode, input)) {
    if (problems.length >= MAX_PROBLEMS) break;
    const hint = unknown.nearest ? ` (did you mean ${unknown.nearest}?)` : "";
    problems.push(
      document.problem(place(unknown.path), `unknown key${hint}`, "warning"),
    );
  }
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  return { value: result.success ? result.output : null, problems };
}

function issueText(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === "schema" && issue.received === "undefined") return "missing";
  // A message of our own says it best; valibot's default starts with "Invalid".
  if (!issue.message.startsWith("Invalid ")) return issue.message;
  return `must be ${issue.expected ?? "something else"}, not ${issue.received}`;
}

interface UnknownKey {
  readonly path: KeyPath;
  readonly nearest: string | null;
}

/** The parts of valibot's schemas that lead to keys; a pipe has its first schema's. */
interface SchemaNode {
  readonly type: string;
  readonly wrapped?: SchemaNode;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly item?: SchemaNode;
  readonly value?: SchemaNode;
  readonly options?: readonly SchemaNode[];
}

/** Keys of the input that no object schema at their place knows. */
function* unknownKeys(
  schema: SchemaNode | undefined,
  input: unknown,
  at: KeyPath = [],
): Generator<UnknownKey> {
  if (!schema || typeof input !== "object" || input === null) return;
  if (schema.wrapped) return yield* unknownKeys(schema.wrapped, input, at);
  if (schema.options) {
    const type = Array.isArray(input) ? "array" : "object";
    const fitting = schema.options.filter((option) => option.type === type);
    if (fitting.length === 1) yield* unknownKeys(fitting[0], input, at);
    return;
  }
  for (const [key, value] of Object.entries(input)) {
    if (schema.type === "array") {
      yield* unknownKeys(schema.item, value, [...at, Number(key)]);
    } else if (schema.type === "record") {
      yield* unknownKeys(schema.value, value, [...at, key]);
    } else if (schema.entries) {
      if (Object.hasOwn(schema.entries, key)) {
        yield* unknownKeys(schema.entries[key], value, [...at, key]);
      } else {
        yield { path: [...at, key], nearest: nearest(key, Object.keys(schema.entries)) };
      }
    }
  }
}
