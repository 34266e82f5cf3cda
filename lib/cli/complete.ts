/**
 * What a shell offers when Tab is pressed. The scripts of completion_scripts.ts call
 * `op-dbus __complete WORD...` with the words after the program's name, the last one being
 * completed (it may be empty). The answer's first line says what else the shell may offer
 * (`files`, `folders`, `none`), each further line is a candidate, a tab, a few words on it.
 */
import { GLOBAL_FLAGS } from "./globals.ts";
import { TOPICS } from "./help_topics.ts";
import { namesFor } from "./complete_names.ts";
import type { CommandInfo, FlagInfo, TreeNode } from "./tree.ts";

/** What the shell adds by itself. */
export type Extra = "files" | "folders" | "none";

/** One thing to offer. */
export interface Candidate {
  readonly word: string;
  readonly about: string;
}

/** An answer. */
export interface Completion {
  readonly extra: Extra;
  readonly candidates: readonly Candidate[];
}

/** What a value is called where it may be a file: `STATE.json`, a key's `.pub`, a package. */
const FILES = /FILE|IMAGE|\.json$|^KEY$|^WHAT$/;
const FOLDERS = /DIR|^PLACE$/;

const NOTHING: Completion = { extra: "none", candidates: [] };

/** Global flags that take a value: they may stand before the command is known. */
const GLOBAL_WITH_VALUE = Object.entries(GLOBAL_FLAGS)
  .filter(([, flag]) => flag!.kind === "parsed").map(([name]) => `--${name}`);

/** Where the words before the last one have led. */
interface Position {
  readonly tree: readonly TreeNode[];
  node: CommandInfo | null;
  children: readonly TreeNode[];
  /** Positional arguments before the one being completed. */
  given: number;
  /** `--` was seen: no more flags. */
  ended: boolean;
  /** The flag whose value comes next. */
  pending: string | null;
  /** Values of the flags given, for what depends on them (--root, --target). */
  readonly values: Map<string, string>;
}

/**
 * @param tree every command
 * @param words what is typed after the program's name; the last one is being completed
 */
export function complete(
  tree: readonly TreeNode[],
  words: readonly string[],
): Completion {
  const current = words.at(-1) ?? "";
  const position = walk(tree, words.slice(0, -1));
  if (position === null) return NOTHING;
  const found = offer(position, current);
  return {
    extra: found.extra,
    candidates: found.candidates.filter(({ word }) => word.startsWith(current)),
  };
}

function walk(tree: readonly TreeNode[], words: readonly string[]): Position | null {
  const at: Position = {
    tree,
    node: null,
    children: tree,
    given: 0,
    ended: false,
    pending: null,
    values: new Map(),
  };
  for (const word of words) {
    if (at.pending !== null) {
      at.values.set(at.pending, word);
      at.pending = null;
    } else if (!at.ended && word === "--") at.ended = true;
    else if (!at.ended && word.startsWith("-") && word !== "-") passFlag(at, word);
    else if (at.node) at.given++;
    else {
      const next = at.children.find(({ path }) => path.at(-1) === word);
      if (!next) return null;
      if (next.kind === "command") [at.node, at.children] = [next, []];
      else at.children = next.children;
    }
  }
  return at;
}

function passFlag(at: Position, word: string): void {
  const equals = word.indexOf("=");
  if (equals > 0) {
    at.values.set(word.slice(2, equals), word.slice(equals + 1));
    return;
  }
  const flag = findFlag(at, word);
  if (flag ? flag.placeholder !== null : GLOBAL_WITH_VALUE.includes(word)) {
    at.pending = flag?.name ?? word.slice(2);
  }
}

function findFlag({ node }: Position, word: string): FlagInfo | undefined {
  const name = word.replace(/^--?/, "");
  return node?.flags.find((flag) =>
    word.startsWith("--") ? flag.name === name : flag.letter === name
  );
}

function offer(at: Position, current: string): Completion {
  if (at.pending !== null) return valuesOf(at, at.pending);
  const equals = current.indexOf("=");
  if (!at.ended && current.startsWith("--") && equals > 0) {
    const found = valuesOf(at, current.slice(2, equals));
    const start = current.slice(0, equals + 1);
    return {
      extra: found.extra,
      candidates: found.candidates.map(({ word, about }) => ({
        word: start + word,
        about,
      })),
    };
  }
  if (!at.ended && current.startsWith("-")) {
    return { extra: "none", candidates: flagsOf(at) };
  }
  if (!at.node) {
    return {
      extra: "none",
      candidates: at.children.map(({ path, brief }) => ({
        word: path.at(-1)!,
        about: brief,
      })),
    };
  }
  return argumentOf(at, at.node);
}

function flagsOf({ node }: Position): Candidate[] {
  const flags = node
    ? node.flags.flatMap(({ name, negatable, brief }) => [
      { word: `--${name}`, about: brief },
      ...(negatable ? [{ word: `--no-${name}`, about: brief }] : []),
    ])
    : Object.entries(GLOBAL_FLAGS).map(([name, flag]) => ({
      word: `--${name}`,
      about: flag!.brief,
    }));
  return [...flags, { word: "--help", about: "Say what it does and how it is used" }];
}

function valuesOf(at: Position, name: string): Completion {
  const flag = at.node?.flags.find((flag) => flag.name === name);
  if (flag && flag.values.length > 0) {
    return {
      extra: "none",
      candidates: flag.values.map((word) => ({ word, about: "" })),
    };
  }
  const placeholder = flag?.placeholder ?? (name === "root" ? "DIR" : "FILE");
  return named(at, name, placeholder);
}

function argumentOf(at: Position, node: CommandInfo): Completion {
  const last = node.arguments.at(-1);
  if (node.path[0] === "help") return at.given === 0 ? helped(at) : NOTHING;
  const argument = node.arguments[at.given] ?? (last?.many ? last : undefined);
  return argument ? named(at, "", argument.placeholder) : NOTHING;
}

/** What `help` explains. */
function helped({ tree }: Position): Completion {
  const topics = Object.entries(TOPICS).map(([word, { brief }]) => ({
    word,
    about: brief,
  }));
  const commands = tree.map(({ path, brief }) => ({ word: path[0]!, about: brief }));
  return { extra: "none", candidates: [...topics, ...commands] };
}

/** Files, folders or names, by what the value is called. */
function named(at: Position, flag: string, placeholder: string): Completion {
  const path = at.node?.path ?? [];
  // `bash|zsh|fish`: the words themselves.
  const words = /^[a-z0-9|-]+$/.test(placeholder)
    ? placeholder.split("|")
    : namesFor({ path, flag, placeholder, values: at.values });
  const extra = FILES.test(placeholder) || flag === "socket"
    ? "files"
    : FOLDERS.test(placeholder)
    ? "folders"
    : "none";
  return { extra, candidates: words.map((word) => ({ word, about: "" })) };
}
