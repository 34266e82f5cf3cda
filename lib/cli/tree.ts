/**
 * The tree of commands as data: what --help, the manual pages and the completions of
 * shells are made of, so that none of them can say something else than the parser does.
 */
import type { CliContext } from "./command.ts";
import type { Route } from "./app.ts";
import type { Command } from "@stricli/core";

/** One flag. */
export interface FlagInfo {
  /** As typed, without dashes: `dry-run`. */
  readonly name: string;
  readonly letter: string | null;
  readonly brief: string;
  /** What its value is called; null for a flag without one. */
  readonly placeholder: string | null;
  /** The only values it takes; empty where any goes. */
  readonly values: readonly string[];
  readonly optional: boolean;
  /** `--no-name` exists too. */
  readonly negatable: boolean;
  /** One of the flags that every command takes. */
  readonly global: boolean;
}

/** One positional argument. */
export interface ArgumentInfo {
  readonly placeholder: string;
  readonly brief: string;
  readonly optional: boolean;
  /** Any number of them may follow. */
  readonly many: boolean;
}

/** A command. */
export interface CommandInfo {
  readonly kind: "command";
  readonly path: readonly string[];
  readonly brief: string;
  /** All of --help's text below the brief: description and examples. */
  readonly description: string;
  readonly flags: readonly FlagInfo[];
  readonly arguments: readonly ArgumentInfo[];
}

/** A noun. */
export interface GroupInfo {
  readonly kind: "group";
  readonly path: readonly string[];
  readonly brief: string;
  readonly children: readonly TreeNode[];
}

export type TreeNode = CommandInfo | GroupInfo;

/** A flag's definition, the fields of all of @stricli/core's kinds together. */
interface FlagDefinition {
  readonly kind: "boolean" | "counter" | "enum" | "parsed";
  readonly brief: string;
  readonly placeholder?: string;
  readonly values?: readonly string[];
  readonly optional?: boolean;
  readonly default?: unknown;
  readonly withNegated?: boolean;
  readonly hidden?: boolean;
}

interface ArgumentDefinition {
  readonly brief: string;
  readonly placeholder?: string;
  readonly optional?: boolean;
}

/** What buildCommand() keeps, which its published type hides. */
interface BuiltCommand {
  readonly parameters: {
    readonly flags?: Readonly<Record<string, FlagDefinition>>;
    readonly aliases?: Readonly<Record<string, string>>;
    readonly positional?:
      | { kind: "tuple"; parameters: readonly ArgumentDefinition[] }
      | { kind: "array"; parameter: ArgumentDefinition };
  };
}

/** Reads the tree below `routes`. */
export function commandTree(
  routes: Readonly<Record<string, Route>>,
  path: readonly string[] = [],
): TreeNode[] {
  return Object.entries(routes).map(([name, target]) => nodeOf(target, [...path, name]));
}

function nodeOf(target: Route, path: readonly string[]): TreeNode {
  if (!("getAllEntries" in target)) return commandOf(target, path);
  const children = target.getAllEntries().filter(({ hidden }) => !hidden).map((entry) =>
    nodeOf(entry.target as Route, [...path, entry.name["convert-camel-to-kebab"]])
  );
  return { kind: "group", path, brief: target.brief, children };
}

function commandOf(target: Command<CliContext>, path: readonly string[]): CommandInfo {
  const { flags = {}, aliases = {}, positional } = (target as unknown as BuiltCommand)
    .parameters;
  const letters = new Map(
    Object.entries(aliases).map(([letter, name]) => [name, letter]),
  );
  return {
    kind: "command",
    path,
    brief: target.brief,
    description: withoutBrief(target.fullDescription ?? "", target.brief),
    flags: Object.entries(flags).map(([name, flag]) => flagOf(name, flag, letters)),
    arguments: positional === undefined
      ? []
      : positional.kind === "array"
      ? [argumentOf(positional.parameter, true)]
      : positional.parameters.map((argument) => argumentOf(argument, false)),
  };
}

function flagOf(
  name: string,
  flag: FlagDefinition,
  letters: ReadonlyMap<string, string>,
): FlagInfo {
  const takesValue = flag.kind === "parsed" || flag.kind === "enum";
  return {
    name: kebab(name),
    letter: letters.get(name) ?? null,
    brief: flag.brief,
    placeholder: takesValue ? flag.placeholder ?? kebab(name).toUpperCase() : null,
    values: flag.values ?? [],
    optional: flag.optional === true || flag.default !== undefined ||
      flag.kind === "boolean",
    negatable: flag.kind === "boolean" && flag.withNegated !== false,
    // A command's own hidden flag does not exist: command() hides the global ones only.
    global: flag.hidden === true,
  };
}

function argumentOf(argument: ArgumentDefinition, many: boolean): ArgumentInfo {
  return {
    placeholder: argument.placeholder ?? "ARG",
    brief: argument.brief,
    optional: many || argument.optional === true,
    many,
  };
}

function withoutBrief(text: string, brief: string): string {
  return (text.startsWith(brief) ? text.slice(brief.length) : text).trim();
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Every command below the nodes, in order. */
export function commandsOf(nodes: readonly TreeNode[]): CommandInfo[] {
  return nodes.flatMap((node) =>
    node.kind === "command" ? [node] : commandsOf(node.children)
  );
}
