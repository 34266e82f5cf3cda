/**
 * Manual pages in man(7), one per command and one for the whole, from the definitions
 * that --help and the parser use.
 */
import { TOPICS } from "../../lib/cli/help_topics.ts";
import { argumentWord, flagWord } from "../../lib/cli/help_text.ts";
import {
  type CommandInfo,
  commandsOf,
  type FlagInfo,
  type TreeNode,
} from "../../lib/cli/tree.ts";

const NAME = "op-dbus";
const ABOUT = "embedding cache, signed plugins, snapshots and desired state on btrfs";

const EXIT_CODES = [
  ["0", "done"],
  ["1", "failed"],
  ["2", "wrong usage or invalid input file"],
  ["3", "differences found, or verification failed"],
  ["4", "confirmation needed and none given"],
  ["5", "another op-dbus holds the lock"],
  ["6", "failed and rolled back"],
  ["125", "the one-file executable could not unpack itself"],
  ["130", "interrupted"],
] as const;

/** One page. */
export interface ManPage {
  /** File name: `op-dbus-cache-stats.1`. */
  readonly file: string;
  readonly text: string;
}

/** Text that roff takes literally. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga").replaceAll("^", "\\(ha").replaceAll("~", "\\(ti")
    .replace(/^\./gm, "\\&.");
}

const bold = (text: string) => `\\fB${roff(text)}\\fR`;
const italic = (text: string) => `\\fI${roff(text)}\\fR`;

/** Lines kept as they are. */
function literal(text: string): string[] {
  return [".EX", ...roff(text).split("\n"), ".EE"];
}

function head(name: string, about: string, version: string): string[] {
  return [
    `.TH ${roff(name.toUpperCase())} 1 "" "${NAME} ${roff(version)}"`,
    ".SH NAME",
    `${roff(name)} \\- ${roff(about)}`,
  ];
}

function flagEntry(flag: FlagInfo): string[] {
  const letter = flag.letter ? `${bold(`-${flag.letter}`)}, ` : "";
  const value = flag.placeholder === null
    ? ""
    : ` ${
      flag.values.length > 0 ? flag.values.map(bold).join("|") : italic(flag.placeholder)
    }`;
  const no = flag.negatable ? `, ${bold(`--no-${flag.name}`)}` : "";
  return [".TP", `${letter}${bold(`--${flag.name}`)}${value}${no}`, roff(flag.brief)];
}

/** Splits --help's text into its description and its examples. */
function parts({ description }: CommandInfo): { text: string; examples: string } {
  const [before = "", after = ""] = description.split(/^Examples?:\n/m);
  const [examples = ""] = after.split(/\n\nGlobal flags/);
  return { text: before.trim(), examples: examples.replace(/^ {2}/gm, "") };
}

function commandPage(command: CommandInfo, version: string): ManPage {
  const name = [NAME, ...command.path].join("-");
  const own = command.flags.filter(({ global }) => !global);
  const { text, examples } = parts(command);
  const usage = [
    ...own.map((flag) => flag.optional ? `[${flagWord(flag)}]` : flagWord(flag)),
    ...command.arguments.map(argumentWord),
  ];
  const lines = [
    ...head(name, command.brief, version),
    ".SH SYNOPSIS",
    `${bold([NAME, ...command.path].join(" "))} ${roff(usage.join(" "))}`.trimEnd(),
    ".SH DESCRIPTION",
    `${roff(command.brief)}.`,
    ...(text ? [".PP", roff(text)] : []),
    ...(command.arguments.length > 0 ? [".SH ARGUMENTS"] : []),
    ...command.arguments.flatMap((argument) => [
      ".TP",
      italic(argumentWord(argument)),
      roff(argument.brief),
    ]),
    ...(own.length > 0 ? [".SH OPTIONS", ...own.flatMap(flagEntry)] : []),
    ...(examples ? [".SH EXAMPLES", ...literal(examples)] : []),
    ".SH SEE ALSO",
    `${bold(NAME)}(1): the options that every command takes, and exit codes`,
  ];
  return { file: `${name}.1`, text: lines.join("\n") + "\n" };
}

function mainPage(commands: readonly CommandInfo[], version: string): ManPage {
  const globals = commands[0]!.flags.filter(({ global }) => global);
  const lines = [
    ...head(NAME, ABOUT, version),
    ".SH SYNOPSIS",
    `${bold(NAME)} ${italic("COMMAND")} [${italic("OPTIONS")}] [${italic("ARGUMENTS")}]`,
    ".SH DESCRIPTION",
    "Results go to standard output, everything else to standard error.",
    `Each command has a page of its own: ${bold("man op-dbus-embed")}.`,
    ".SH COMMANDS",
    ...commands.flatMap(({ path, brief }) => [".TP", bold(path.join(" ")), roff(brief)]),
    ".SH OPTIONS",
    "Every command takes these, before or after its name.",
    ...globals.flatMap(flagEntry),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, about]) => [".TP", bold(code), roff(about)]),
    ".SH FILES",
    ...[".TP", italic("/etc/op-dbus/config.toml"), "Settings."],
    ...[".TP", italic("/var/lib/op-dbus"), "The root."],
    ...Object.values(TOPICS).flatMap(({ text }) => {
      const [title = "", ...rest] = text.trim().split("\n");
      return [`.SH ${roff(title.toUpperCase())}`, ...literal(rest.join("\n").trim())];
    }),
  ];
  return { file: `${NAME}.1`, text: lines.join("\n") + "\n" };
}

/** Every page. */
export function manPages(tree: readonly TreeNode[], version: string): ManPage[] {
  const commands = commandsOf(tree);
  return [
    mainPage(commands, version),
    ...commands.map((command) => commandPage(command, version)),
  ];
}
