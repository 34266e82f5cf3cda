/** What a command has at hand: settings, layout, output, the signal that ends it. */
import type { GlobalFlags } from "./globals.ts";
import type { Config } from "../base/config.ts";
import { Layout } from "../base/layout.ts";
import { InterruptedError } from "../base/errors.ts";
import { Output } from "./output.ts";

/** One run of one command. */
export class Context {
  readonly out: Output;
  /** Set by a command that must live on when its terminal goes away, to undo its work. */
  survivesHangUp = false;
  #config: Config | undefined;
  readonly #cleanups: (() => void)[] = [];

  /**
   * @param flags the global ones, as parsed
   * @param signal ends the command
   * @param load reads the settings, at their first use
   */
  constructor(
    readonly flags: GlobalFlags,
    readonly signal: AbortSignal,
    readonly load: () => Config,
    /** Leaves SIGINT, SIGTERM and SIGHUP to the command: a service has its own ways. */
    readonly releaseSignals: () => void = () => {},
  ) {
    this.out = outputFor(flags);
  }

  /**
   * The settings: flag, environment, file, default. Their first use says what is hardly
   * meant.
   * @throws {InputError} when the configuration file is wrong
   */
  get config(): Config {
    if (this.#config) return this.#config;
    this.#config = this.load();
    this.#config.warnings.forEach((text) => this.out.warn(text));
    return this.#config;
  }

  /** The same run under other settings; what it opens is closed with this one. */
  with(config: Config): Context {
    const other = new Context(this.flags, this.signal, this.load);
    other.#config = config;
    this.onClose(() => other.close());
    return other;
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
