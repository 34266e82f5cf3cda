/** What a command has at hand: settings, layout, output, the signal that ends it. */
import type { GlobalFlags } from "./globals.ts";
import { type Config, type ConfigKey, loadConfig } from "../base/config.ts";
import { CONFIG_KEYS } from "../base/config_keys.ts";
import { Layout } from "../base/layout.ts";
import { InputError, InterruptedError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { Output } from "./output.ts";

/** One run of one command. */
export class Context {
  readonly out: Output;
  #config: Config | undefined;
  readonly #cleanups: (() => void)[] = [];

  constructor(readonly flags: GlobalFlags, readonly signal: AbortSignal) {
    this.out = outputFor(flags);
  }

  /**
   * The settings: flag, environment, file, default.
   * @throws {InputError} when the configuration file is wrong
   */
  get config(): Config {
    return this.#config ??= loadConfig({
      flags: settingsOfFlags(this.flags),
      path: this.flags.config,
      env: Deno.env.toObject(),
    });
  }

  /** Where things are. */
  get layout(): Layout {
    return new Layout(this.config.get("root"));
  }

  /** Registers what must be closed when the command ends, however it ends. */
  onClose(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Closes what {@link onClose} registered, last first. */
  close(): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup();
  }
}

/** Settings given on the command line: `--root DIR` and `--set KEY=VALUE`. */
function settingsOfFlags({ root, set }: GlobalFlags): Partial<Record<ConfigKey, string>> {
  const settings: Partial<Record<ConfigKey, string>> = {};
  for (const given of set ?? []) {
    const at = given.indexOf("=");
    const key = at === -1 ? given : given.slice(0, at);
    if (at === -1 || !isConfigKey(key)) {
      const near = nearest(key, Object.keys(CONFIG_KEYS));
      throw new InputError("unknown_config_key", `Cannot set ${JSON.stringify(given)}`, {
        hint: near && near !== key
          ? `did you mean --set ${near}=VALUE?`
          : "give --set KEY=VALUE; op-dbus config show lists the keys",
      });
    }
    settings[key] = given.slice(at + 1);
  }
  if (root !== undefined) settings.root = root;
  return settings;
}

function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(CONFIG_KEYS, key);
}

/** How to print, from the flags, the environment and the terminal. */
export function outputFor(flags: GlobalFlags): Output {
  const terminal = Deno.stderr.isTerminal();
  const noColor = (Deno.env.get("NO_COLOR") ?? "") !== "";
  return new Output({
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    verbose: flags.verbose ?? false,
    color: flags.color ?? (!noColor && terminal && Deno.stdout.isTerminal()),
    progress: flags.progress ?? (terminal && !flags.quiet),
  });
}

/** The reason that a stop by signal aborts with. */
export function interrupted(signal: string): InterruptedError {
  return new InterruptedError("interrupted", `Interrupted by ${signal}`);
}
