/** What is wrong with a file that a person wrote: all of it at once, each with its place. */
import { InputError } from "../base/errors.ts";

/** One thing that is wrong, or odd. */
export interface Problem {
  /** The file, as it should be shown. */
  readonly file: string;
  /** From 1; 0 where the whole file is meant. */
  readonly line: number;
  /** From 1, in UTF-16 units as editors count them; 0 where the whole file is meant. */
  readonly column: number;
  /** Dotted key, `plugin.version`; empty where there is none. */
  readonly key: string;
  /** `error` makes the file unusable, `warning` does not. */
  readonly severity: "error" | "warning";
  /** What is wrong and what would be right. */
  readonly message: string;
}

/** `plugin.toml:3:11: plugin.version: must be ...` */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `:${problem.line}:${problem.column}` : "";
  const key = problem.key ? `${problem.key}: ` : "";
  return `${problem.file}${place}: ${key}${problem.message}`;
}

/** Most problems that are collected of one file; a hostile file has no say in that. */
export const MAX_PROBLEMS = 100;

/** A file that cannot be used; carries every problem, shows the first. */
export class InvalidFileError extends InputError {
  /** @param problems at least one error; warnings may be among them */
  constructor(readonly problems: readonly Problem[]) {
    const errors = problems.filter((p) => p.severity === "error");
    const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
    super("invalid_file", `Invalid file: ${formatProblem(errors[0]!)}${more}`, {
      hint: errors.length > 1
        ? "op-dbus plugin validate DIR lists them all"
        : errors[0]!.line > 0
        ? "correct that line"
        : "op-dbus plugin validate DIR says more",
    });
  }
}
