/**
 * `deno task docs`: writes docs/reference.md from the definitions that the parser, the
 * configuration and the errors use, and docs/formats.md. A test compares the files with
 * what this gives.
 */
import { loadRoutes } from "../lib/cli/app.ts";
import { argumentWord, flagWord, usageLine } from "../lib/cli/help_text.ts";
import {
  type CommandInfo,
  commandsOf,
  commandTree,
  type FlagInfo,
} from "../lib/cli/tree.ts";
import { environmentName, resolveConfig } from "../lib/base/config.ts";
import { CONFIG_KEYS, CONFIG_TABLES } from "../lib/base/config_keys.ts";
import { EXIT } from "../lib/base/errors.ts";
import { formats } from "./docs_formats.ts";

const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: "done",
  failed: "failed",
  usage: "wrong usage, or an invalid input file",
  differences: "differences found, or verification failed",
  confirmationNeeded: "confirmation needed and none given",
  locked: "another op-dbus holds the lock",
  rolledBack: "failed, and rolled back",
  interrupted: "interrupted",
};

/** Variables that are no setting. */
const ENVIRONMENT = [
  ["OPDBUS_CONFIG", "the configuration file, as `--config`"],
  ["OPDBUS_KEY_PASSWORD", "password of a secret key, for `sign`, `key` and `repo index`"],
  ["OPDBUS_RUNTIME_DIR", "where the self-extracting form unpacks; not read as root"],
  ["OPDBUS_RUNTIME_VERIFY", "1: it checks the unpacked files again at each start"],
  [
    "DENO_CERT",
    "PEM file of certificates to trust for TLS too; also NODE_EXTRA_CA_CERTS",
  ],
  ["DENO_TLS_CA_STORE", "whom to trust for TLS: mozilla, or system for this host's list"],
  ["HF_TOKEN", "token for the hub, for `model pull`"],
  ["NO_COLOR", "no colours, as `--no-color`"],
  ["SOURCE_DATE_EPOCH", "time of signatures and lists, in seconds since 1970"],
] as const;

/** Text for a cell of a table. */
const cell = (text: string) => text.replace(/\s+/g, " ").replaceAll("|", "\\|");

/** Markdown's own characters as text; code between backticks is left as it is. */
function plain(text: string): string {
  return text.replace(
    /`[^`]*`|[<>*_]/g,
    (found) => found.length > 1 ? found : `\\${found}`,
  );
}

/** Lines that are typed: fenced, because indented ones below a list are part of it. */
const typed = (lines: string) => `\`\`\`sh\n${lines}\n\`\`\``;

function flagRow(flag: FlagInfo): string {
  const letter = flag.letter ? `-${flag.letter}, ` : "";
  const no = flag.negatable ? `, \`--no-${flag.name}\`` : "";
  return `- \`${letter}${flagWord(flag)}\`${no}: ${flag.brief}`;
}

function commandText(command: CommandInfo): string {
  const own = command.flags.filter(({ global }) => !global);
  const [before = "", after = ""] = command.description.split(/^Examples?:\n/m);
  const examples = after.split("\n\nGlobal flags")[0]!.trim().replace(/\n\s*/g, "\n");
  const rows = [
    ...own.map(flagRow),
    ...command.arguments.map((one) => `- \`${argumentWord(one)}\`: ${one.brief}`),
  ];
  return [
    `### op-dbus ${command.path.join(" ")}`,
    `${command.brief}.`,
    `    ${usageLine(command)}`,
    ...(before.trim() ? [plain(before.trim())] : []),
    ...(rows.length > 0 ? [rows.join("\n")] : []),
    typed(examples),
  ].join("\n\n");
}

function configText(): string {
  const defaults = resolveConfig({});
  const rows = Object.entries(CONFIG_KEYS).map(([key, kind]) => {
    const { shown } = defaults.entry(key as keyof typeof CONFIG_KEYS);
    return `| \`${key}\` | \`${environmentName(key)}\` | \`${shown || '""'}\` | ${
      cell(kind.about)
    } |`;
  });
  const tables = Object.entries(CONFIG_TABLES).flatMap(([table, fields]) => [
    `### [${table}.NAME]`,
    ...Object.entries(fields).map(([field, kind]) => `- \`${field}\`: ${kind.about}`),
  ]);
  return [
    "| key | environment | default | what |\n|---|---|---|---|\n" + rows.join("\n"),
    ...tables.join("\n").replace(/\n###/g, "\n\n###").replace(/\]\n-/g, "]\n\n-").split(
      "\n\n",
    ),
  ].join("\n\n");
}

/** The whole page of commands and settings. */
async function reference(): Promise<string> {
  const commands = commandsOf(commandTree(await loadRoutes()));
  const codes = Object.entries(EXIT).map(([name, code]) =>
    `| ${code} | ${EXIT_MEANINGS[name as keyof typeof EXIT]} |`
  );
  return [
    "# Reference",
    "Written by `deno task docs` from the program's own definitions; do not edit.",
    "## Exit codes",
    "| code | meaning |\n|---|---|\n" + codes.join("\n"),
    "The one-file executable ends with 125 when it could not unpack itself.",
    "## Settings",
    "In `/etc/op-dbus/config.toml`, or by environment, or by a flag where there is one; " +
    "`op-dbus config show` prints each with its origin.",
    configText(),
    "## Environment",
    "Beside the settings' own names:\n\n" +
    ENVIRONMENT.map(([name, about]) => `- \`${name}\`: ${about}`).join("\n"),
    "## Flags of every command",
    "Before or after its name.\n\n" +
    commands[0]!.flags.filter(({ global }) => global).map(flagRow).join("\n"),
    "## Commands",
    ...commands.map(commandText),
  ].join("\n\n") + "\n";
}

/** Every page that is written by this, by its path from the checkout; not yet formatted. */
export async function writtenPages(): Promise<Record<string, string>> {
  return { "docs/reference.md": await reference(), "docs/formats.md": formats() };
}

if (import.meta.main) {
  for (const [page, text] of Object.entries(await writtenPages())) {
    const path = new URL(`../${page}`, import.meta.url).pathname;
    await Deno.writeTextFile(path, text);
    await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", path] }).output();
  }
}
