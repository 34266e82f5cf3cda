/** How a command is defined: one call, with typed flags, examples and a lazy body. */
import {
  buildCommand,
  buildRouteMap,
  type Command,
  type CommandContext,
  type FlagParametersForType,
  type RouteMap,
  type TypedPositionalParameters,
} from "@stricli/core";
import { GLOBAL_ALIASES, GLOBAL_FLAGS, type GlobalFlags } from "./globals.ts";
import type { Config } from "../base/config.ts";
import { Context } from "./context.ts";

/** What @stricli/core hands to a command: the streams, and the session of this run. */
export interface CliContext extends CommandContext {
  readonly session: Session;
}

/** What outlives a command's own function: its context, for errors, and its signal. */
export interface Session {
  readonly signal: AbortSignal;
  /** Leaves the signals to the command. */
  readonly releaseSignals: () => void;
  context?: Context;
}

/** A command's definition. */
export interface CommandSpec<F extends object, A extends readonly unknown[]> {
  /** One line, starting with a verb. */
  readonly brief: string;
  /** More, for `--help`. */
  readonly description?: string;
  /** Whole command lines; at least one. */
  readonly examples: readonly [string, ...string[]];
  /** True for a command that has no settings: it starts without reading any. */
  readonly standalone?: boolean;
  /** Flags of its own. */
  readonly flags: FlagParametersForType<F, CliContext>;
  readonly aliases?: Readonly<Record<string, keyof F & string>>;
  /** Positional arguments; none by default. */
  readonly positional?: TypedPositionalParameters<A, CliContext>;
  /** The body. Imports what is heavy itself, lazily. */
  readonly run: (context: Context, flags: F & GlobalFlags, ...args: A) =>
    | void
    | Promise<void>;
}

/** Builds a command: adds the global flags, the examples and the {@link Context}. */
export function command<F extends object = object, A extends readonly unknown[] = []>(
  spec: CommandSpec<F, A>,
): Command<CliContext> {
  const func = async function (this: CliContext, flags: F & GlobalFlags, ...args: A) {
    const load = spec.standalone
      ? () => {
        throw new TypeError("a standalone command has no settings");
      }
      : await settingsLoader(flags);
    const context = new Context(
      flags,
      this.session.signal,
      load,
      this.session.releaseSignals,
    );
    this.session.context = context;
    try {
      await spec.run(context, flags, ...args);
      this.session.signal.throwIfAborted();
    } finally {
      context.close();
    }
  };
  const examples = spec.examples.map((example) => `  ${example}`).join("\n");
  const fullDescription = [
    spec.brief,
    ...(spec.description ? ["", spec.description] : []),
    "",
    spec.examples.length > 1 ? "Examples:" : "Example:",
    examples,
    "",
    "Global flags (--root, --json, ...) are listed by: op-dbus --help",
  ].join("\n");
  // The builder's types tie flags to the function's own annotation; ours are generic,
  // and checked by CommandSpec above.
  return buildCommand({
    func,
    parameters: {
      flags: { ...spec.flags, ...GLOBAL_FLAGS },
      aliases: { ...spec.aliases, ...GLOBAL_ALIASES },
      ...(spec.positional && { positional: spec.positional }),
    },
    docs: { brief: spec.brief, fullDescription },
    // deno-lint-ignore no-explicit-any
  } as any) as Command<CliContext>;
}

/** The reader of configuration and its TOML parser cost a start some milliseconds. */
async function settingsLoader(flags: GlobalFlags): Promise<() => Config> {
  const { loadSettings } = await import("./settings.ts");
  return () => loadSettings(flags);
}

/** A noun with its verbs: `op-dbus cache stats`. */
export function group(
  brief: string,
  routes: Readonly<Record<string, Command<CliContext> | RouteMap<CliContext>>>,
): RouteMap<CliContext> {
  return buildRouteMap({ routes, docs: { brief } });
}
