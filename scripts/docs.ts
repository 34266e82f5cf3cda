/**
 * `deno task docs`: writes docs/reference.md from the definitions that the parser, the
 * configuration and the errors use, and docs/formats.md. A test compares the files with
 * what this gives.
 */
import { loadRoutes } from "../lib/cli/app.ts";
import { argumentWord, flagWord, usageLine } from "../lib/cli/help_text.ts";
import { type CommandInfo, commandsOf, commandTree } from "../lib/cli/tree.ts";
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

/** Text for a cell of a table. */
const cell = (text: string) => text.replace(/\s+/g, " ").replaceAll("|", "\\|");

function commandText(command: CommandInfo): string {
  const own = command.flags.filter(({ global }) => !global);
  const [before = "", examples = ""] = command.description.split(/^Examples?:\n/m);
  const rows = [
    ...own.map((flag) => `- \`${flagWord(flag)}\`: ${flag.brief}`),
    ...command.arguments.map((one) => `- \`${argumentWord(one)}\`: ${one.brief}`),
  ];
  return [
    `### op-dbus ${command.path.join(" ")}`,
    `${command.brief}.`,
    `    ${usageLine(command)}`,
    ...(before.trim() ? [before.trim().replace(/[<>*_]/g, "\\$&")] : []),
    ...(rows.length > 0 ? [rows.join("\n")] : []),
    "    " +
    (examples.split("\n\nGlobal flags")[0] ?? "").trim().replace(/\n\s*/g, "\n    "),
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
    "## Commands",
    ...commandsOf(commandTree(await loadRoutes())).map(commandText),
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
