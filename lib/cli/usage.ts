/** Wrong usage: messages with the nearest right word, and flags before the command. */
import {
  type Application,
  type ApplicationText,
  ArgumentScannerError,
  FlagNotFoundError,
  formatMessageForArgumentScannerError,
  text_en,
} from "@stricli/core";
import { InputError, OpError } from "../base/errors.ts";
import { nearest as nearestWord } from "../base/nearest.ts";
import type { CliContext } from "./command.ts";
import { GLOBAL_FLAGS } from "./globals.ts";

/** One thing that is wrong with a command line. */
interface Mistake {
  readonly message: string;
  /** `did you mean apply?`, or what its own error says; null for none. */
  readonly hint: string | null;
}

/** What is wrong with a command line, as @stricli/core finds it. */
export class Mistakes {
  readonly #all: Mistake[] = [];

  /** The same twice (`NAME NAME` missing) is told once. */
  add(message: string, hint: string | null): void {
    if (this.#all.every((known) => known.message !== message)) {
      this.#all.push({ message, hint });
    }
  }

  /**
   * All of it in one error: one line, one JSON document.
   * @param words of the command that was meant, as far as they are known
   * @returns null where nothing is wrong
   */
  error(words: readonly string[]): InputError | null {
    if (this.#all.length === 0) return null;
    const message = this.#all.map((mistake) => mistake.message).join("; ");
    const hints = this.#all.flatMap(({ hint }) => hint ?? []);
    const help = ["see op-dbus", ...words, "--help"].join(" ");
    const hint = [...hints, help].reduce((all, next) =>
      all.endsWith("?") ? `${all} ${next}` : `${all}; ${next}`
    );
    return new InputError("usage", message, { hint });
  }
}

/**
 * The texts of @stricli/core, which collect what is wrong. Its own printing is silenced by
 * returning nothing.
 */
export function usageText(mistakes: Mistakes): ApplicationText {
  const usage = (message: string, hint: string | null) => {
    mistakes.add(message, hint);
    return "";
  };
  return {
    ...text_en,
    noCommandRegisteredForInput({ input, corrections }) {
      return usage(`Unknown command ${quote(input)}`, nearest(corrections));
    },
    exceptionWhileParsingArguments(error) {
      if (error instanceof OpError) return usage(error.message, error.hint ?? null);
      if (!(error instanceof ArgumentScannerError)) {
        return usage(`Cannot read the arguments: ${error}`, null);
      }
      const message = formatMessageForArgumentScannerError(error, {
        FlagNotFoundError: ({ input }) => `Unknown flag --${input.replace(/^-+/, "")}`,
        AliasNotFoundError: ({ input }) => `Unknown flag -${input}`,
        UnexpectedPositionalError: ({ input }) => `Unexpected argument ${quote(input)}`,
        UnsatisfiedPositionalError: ({ placeholder }) =>
          `Missing argument ${placeholder}`,
        UnsatisfiedFlagError: ({ externalFlagName }) =>
          `Missing value or flag --${externalFlagName}`,
        ArgumentParseError: ({ externalFlagNameOrPlaceholder, input, exception }) =>
          `Invalid value ${quote(input)} for ${
            flagName(externalFlagNameOrPlaceholder)
          }: ${exception instanceof Error ? exception.message : exception}`,
      });
      return usage(message, nearest(corrections(error)));
    },
    exceptionWhileLoadingCommandFunction: () => "",
    exceptionWhileLoadingCommandContext: () => "",
    exceptionWhileRunningCommand: () => "",
    commandErrorResult: () => "",
  };
}

/** The nearest of @stricli/core's own suggestions and the flags it does not look at. */
function corrections(error: ArgumentScannerError): readonly string[] {
  if (!(error instanceof FlagNotFoundError)) {
    return "corrections" in error ? error.corrections as readonly string[] : [];
  }
  const own = error.corrections.map((word) => word.replace(/^-+/, ""));
  const known = [...own, "help", ...Object.keys(GLOBAL_FLAGS)].map(asTyped);
  const typed = asTyped(error.input.replace(/^-+/, ""));
  const begun = typed.length > 1 && known.find((flag) => flag.startsWith(typed));
  const near = begun || nearestWord(typed, known);
  return near ? [`--${near}`] : [];
}

/** `dry-run`, which @stricli/core calls `dryRun`. */
function asTyped(flag: string): string {
  return flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Placeholders are in capitals, flags are not. */
function flagName(name: string): string {
  return name === name.toUpperCase() ? name : `--${name}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function nearest(words: readonly string[]): string | null {
  if (words.length === 0) return null;
  return `did you mean ${words.map((word) => word.replaceAll("`", "")).join(" or ")}?`;
}

/** How many of the first words name a command, or a group of them. */
function commandWords(
  app: Application<CliContext>,
  words: readonly string[],
): { count: number; isCommand: boolean } {
  let target = app.root;
  let count = 0;
  while ("getRoutingTargetForInput" in target && count < words.length) {
    const next = target.getRoutingTargetForInput(words[count]!);
    if (!next) break;
    target = next;
    count += 1;
  }
  return { count, isCommand: !("getRoutingTargetForInput" in target) };
}

/**
 * Moves global flags from before the command to right behind its last word, where
 * @stricli/core takes them.
 *
 * @param leading flags found in front
 * @param rest the command line from its first other word on
 * @returns the arguments, and the words that name the command, or its group
 */
export function placeGlobals(
  app: Application<CliContext>,
  leading: readonly string[],
  rest: readonly string[],
): { args: string[]; words: string[] } {
  const { count, isCommand } = commandWords(app, rest);
  const words = rest.slice(0, count);
  return { args: [...words, ...(isCommand ? leading : []), ...rest.slice(count)], words };
}
