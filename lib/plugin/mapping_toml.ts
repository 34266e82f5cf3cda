/**
 * TOML checked against a valibot schema, with file, line and key in every message. Serves
 * any small TOML file that people write; nothing here knows mappings.
 */
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";

/** One thing that is wrong with a file. */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** Where in the document, e.g. `methods.create.args[0].type`; empty for syntax. */
  readonly key: string;
  readonly message: string;
}

/** A problem on one line, as compilers write it. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, key, message } = problem;
  return `${file}:${line}:${column}: ${key && `${key}: `}${message}`;
}

/** Where a key is; `path` has table and key names and array indices. */
export type Locate = (
  path: readonly (string | number)[],
) => { line: number; column: number };

/** A file's text as a document; `problems` when it is no TOML. */
export function parseToml(
  text: string,
  file: string,
): { document?: Record<string, unknown>; problems: Problem[] } {
  try {
    return { document: parse(text) as Record<string, unknown>, problems: [] };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const message = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    return {
      problems: [{
        severity: "error",
        file,
        line: error.line,
        column: error.column,
        key: "",
        message: `this is not TOML: ${message}`,
      }],
    };
  }
}

/**
 * Checks a document's shape. Unknown keys are warnings, with the nearest known key named;
 * everything else is an error.
 */
export function checkShape<S extends v.GenericSchema>(
  schema: S,
  document: unknown,
  file: string,
  locate: Locate,
): { output?: v.InferOutput<S>; problems: Problem[] } {
  const problems: Problem[] = [];
  const add = (
    severity: Problem["severity"],
    path: (string | number)[],
    message: string,
  ) => problems.push({ severity, file, ...locate(path), key: keyText(path), message });
  const result = v.safeParse(schema, document);
  for (const issue of result.issues ?? []) {
    const path = (issue.path ?? []).map((item) => item.key as string | number);
    const got = issue.kind === "schema" && issue.received !== "undefined"
      ? `expected ${issue.expected ?? "another type"}, got ${issue.received}`
      : issue.kind === "schema"
      ? "is missing"
      : issue.message.replace(/^Invalid \w+: /, "");
    add("error", path, issue.type === "union" ? issue.message : got);
  }
  for (const { path, nearest } of unknownKeys(schema, document, [])) {
    add("warning", path, `is unknown${nearest ? `; did you mean "${nearest}"?` : ""}`);
  }
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  return result.success ? { output: result.output, problems } : { problems };
}

/** A path as people read it: `state.users.fields.name`, `args[0].type`. */
export function keyText(path: readonly (string | number)[]): string {
  return path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`
  ).join("");
}

interface Loose {
  readonly type: string;
  readonly entries?: Record<string, Loose>;
  readonly wrapped?: Loose;
  readonly value?: Loose;
  readonly item?: Loose;
  readonly options?: readonly Loose[];
}

function* unknownKeys(
  schema: unknown,
  value: unknown,
  path: (string | number)[],
): Generator<{ path: (string | number)[]; nearest: string | undefined }> {
  const node = schema as Loose;
  if (node.wrapped) return yield* unknownKeys(node.wrapped, value, path);
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    if (node.options) {
      const arrays = node.options.filter((option) => option.type === "array");
      if (arrays.length === 1) yield* unknownKeys(arrays[0], value, path);
      return;
    }
    if (!node.item) return;
    for (const [i, item] of value.entries()) {
      yield* unknownKeys(node.item, item, [...path, i]);
    }
    return;
  }
  if (node.options) {
    const objects = node.options.filter((option) => option.type === "object");
    if (objects.length === 1) yield* unknownKeys(objects[0], value, path);
    return;
  }
  for (const [key, child] of Object.entries(value)) {
    if (node.type === "record") yield* unknownKeys(node.value, child, [...path, key]);
    else if (node.entries) {
      const known = Object.hasOwn(node.entries, key) ? node.entries[key] : undefined;
      if (known) yield* unknownKeys(known, child, [...path, key]);
      else {yield {
          path: [...path, key],
          nearest: nearest(key, Object.keys(node.entries)),
        };}
    }
  }
}

/** The candidate at most two edits away, or undefined. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined, bestDistance = 3;
  for (const candidate of candidates) {
    const d = editDistance(word.slice(0, 64), candidate.slice(0, 64));
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + cost));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * Finds keys in TOML text: tables and the keys that start a line are found exactly, what is
 * inside an inline table or an array is placed at the key that holds it.
 */
export function locator(text: string): Locate {
  const places = new Map<string, { line: number; column: number }>();
  let table: string[] = [];
  const arrayCounts = new Map<string, number>();
  text.split("\n").forEach((raw, index) => {
    const header = /^\s*(\[\[?)\s*([^\]#]+?)\s*\]\]?\s*(#.*)?$/.exec(raw);
    const assignment = header
      ? null
      : /^\s*((?:[\w-]+|"[^"]*"|'[^']*'|\s*\.\s*)+)\s*=/.exec(
        raw,
      );
    const at = { line: index + 1, column: raw.search(/\S/) + 1 };
    const note = (path: readonly string[]) => {
      for (let n = 1; n <= path.length; n++) {
        const key = JSON.stringify(path.slice(0, n));
        if (!places.has(key) || n === path.length) places.set(key, places.get(key) ?? at);
      }
    };
    if (header) {
      table = splitKey(header[2]!);
      if (header[1] === "[[") {
        const name = table.join(".");
        const count = arrayCounts.get(name) ?? 0;
        arrayCounts.set(name, count + 1);
        table = [...table, String(count)];
      }
      note(table);
    } else if (assignment) note([...table, ...splitKey(assignment[1]!)]);
  });
  return (path) => {
    for (let n = path.length; n > 0; n--) {
      const found = places.get(JSON.stringify(path.slice(0, n).map(String)));
      if (found) return found;
    }
    return { line: 1, column: 1 };
  };
}

function splitKey(text: string): string[] {
  return [...text.matchAll(/[\w-]+|"([^"]*)"|'([^']*)'/g)].map((m) =>
    m[1] ?? m[2] ?? m[0]
  );
}
