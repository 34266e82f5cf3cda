/** The flags that every command takes. */
import type { FlagParametersForType } from "@stricli/core";
import type { CliContext } from "./command.ts";

/** Global flags as parsed. */
export interface GlobalFlags {
  readonly root?: string;
  readonly config?: string;
  readonly set?: readonly string[];
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: boolean;
  readonly progress?: boolean;
}

const text = (input: string) => input;

/** Their definitions: hidden in each command's own help, listed in `op-dbus --help`. */
export const GLOBAL_FLAGS: FlagParametersForType<GlobalFlags, CliContext> = {
  root: {
    kind: "parsed",
    parse: text,
    brief: "Root folder (OPDBUS_ROOT; default /var/lib/op-dbus)",
    placeholder: "DIR",
    optional: true,
    hidden: true,
  },
  config: {
    kind: "parsed",
    parse: text,
    brief: "Configuration file (OPDBUS_CONFIG; default /etc/op-dbus/config.toml)",
    placeholder: "FILE",
    optional: true,
    hidden: true,
  },
  set: {
    kind: "parsed",
    parse: text,
    brief: "A setting for this run, as `op-dbus config show` names it; may be repeated",
    placeholder: "KEY=VALUE",
    optional: true,
    variadic: true,
    hidden: true,
  },
  json: {
    kind: "boolean",
    brief: "One JSON document on standard output (JSON lines for streams)",
    optional: true,
    withNegated: false,
    hidden: true,
  },
  quiet: {
    kind: "boolean",
    brief: "Say nothing but results and errors",
    optional: true,
    withNegated: false,
    hidden: true,
  },
  verbose: {
    kind: "boolean",
    brief: "Say more; errors with their stack",
    optional: true,
    withNegated: false,
    hidden: true,
  },
  color: {
    kind: "boolean",
    brief: "Colours (default: on a terminal, unless NO_COLOR is set)",
    optional: true,
    hidden: true,
  },
  progress: {
    kind: "boolean",
    brief: "Progress bars (default: on a terminal)",
    optional: true,
    hidden: true,
  },
};

/** One-letter forms; -h is help. */
export const GLOBAL_ALIASES = { q: "quiet", v: "verbose" } as const;

/** Global flags that take a value, as written on the command line. */
const WITH_VALUE = ["--root", "--config", "--set"];
/** Global flags that take none. */
const WITHOUT_VALUE = [
  "--json",
  "--quiet",
  "-q",
  "--verbose",
  "-v",
  "--color",
  "--no-color",
  "--progress",
  "--no-progress",
];

/**
 * Splits off the global flags that stand before the command (`op-dbus --root X embed`).
 *
 * @param args the whole command line
 * @returns the flags in front, and the rest from the first other word on
 */
export function splitLeadingGlobals(
  args: readonly string[],
): { leading: string[]; rest: string[] } {
  let at = 0;
  while (at < args.length) {
    const arg = args[at]!;
    if (WITHOUT_VALUE.includes(arg)) at += 1;
    else if (WITH_VALUE.includes(arg)) at += 2;
    else if (WITH_VALUE.some((flag) => arg.startsWith(`${flag}=`))) at += 1;
    else break;
  }
  return { leading: args.slice(0, at), rest: args.slice(at) };
}

/** What `op-dbus --help` says of them. */
export const GLOBAL_HELP = `Global flags, before or after the command:
  --root DIR      root folder (OPDBUS_ROOT; default /var/lib/op-dbus)
  --config FILE   configuration (OPDBUS_CONFIG; default /etc/op-dbus/config.toml)
  --set KEY=VALUE a setting for this run (op-dbus config show lists them); repeatable
  --json          one JSON document on standard output (JSON lines for streams)
  -q, --quiet     say nothing but results and errors
  -v, --verbose   say more; errors with their stack
  --no-color      no colours (also NO_COLOR)
  --no-progress   no progress bars

Exit codes: 0 done; 1 failed; 2 wrong usage or invalid input; 3 differences found or
verification failed; 4 confirmation needed; 5 locked; 6 failed and rolled back;
130 interrupted.`;
