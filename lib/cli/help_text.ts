/** A command's reference as plain text, from the same definitions as --help. */
import { wrap } from "./wrap.ts";
import type { ArgumentInfo, CommandInfo, FlagInfo, TreeNode } from "./tree.ts";

/** Column at which explanations start. */
const INDENT = 26;

/** `op-dbus embed [--file FILE] [TEXT...]` */
export function usageLine({ path, flags, arguments: args }: CommandInfo): string {
  const own = flags.filter(({ global }) => !global).map((flag) =>
    flag.optional ? `[${flagWord(flag)}]` : flagWord(flag)
  );
  return ["op-dbus", ...path, ...own, ...args.map(argumentWord)].join(" ");
}

/** `--output json|npy`, `--yes` */
export function flagWord({ name, placeholder, values }: FlagInfo): string {
  if (placeholder === null) return `--${name}`;
  return `--${name} ${values.length > 0 ? values.join("|") : placeholder}`;
}

/** `NAME`, `[NAME]`, `[TEXT...]` */
export function argumentWord({ placeholder, optional, many }: ArgumentInfo): string {
  const word = many ? `${placeholder}...` : placeholder;
  return optional ? `[${word}]` : word;
}

/** The text of `op-dbus help COMMAND`. */
export function helpText(node: TreeNode): string {
  if (node.kind === "group") {
    const rows = node.children.map(({ path, brief }) => entry(path.at(-1)!, brief));
    return [`op-dbus ${node.path.join(" ")}: ${node.brief}`, "", ...rows].join("\n");
  }
  const flags = node.flags.filter(({ global }) => !global);
  return [
    usageLine(node),
    "",
    node.brief,
    ...(flags.length > 0 ? ["", "Flags:", ...flags.map(flagEntry)] : []),
    ...(node.arguments.length > 0
      ? ["", "Arguments:", ...node.arguments.map((a) => entry(argumentWord(a), a.brief))]
      : []),
    "",
    node.description,
  ].join("\n");
}

function flagEntry(flag: FlagInfo): string {
  const letter = flag.letter ? `-${flag.letter}, ` : "";
  return entry(letter + flagWord(flag), flag.brief);
}

function entry(word: string, about: string): string {
  const pad = " ".repeat(INDENT);
  const text = wrap(about, 78 - INDENT).join(`\n${pad}`);
  const start = `  ${word}`;
  return start.length < INDENT - 1
    ? start.padEnd(INDENT) + text
    : `${start}\n${pad}${text}`;
}
