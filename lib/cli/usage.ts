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

const HELP_HINT = "see op-dbus --help";

/**
 * The texts of @stricli/core with our error form. Its own printing is silenced by
 * returning nothing; `report` prints.
 */
export function usageText(report: (error: OpError) => void): ApplicationText {
  const usage = (message: string, hint: string) => {
    report(new InputError("usage", message, { hint }));
    return "";
  };
  return {
    ...text_en,
    noCommandRegisteredForInput({ input, corrections }) {
      return usage(`Unknown command ${quote(input)}`, nearest(corrections));
    },
    exceptionWhileParsingArguments(error) {
      if (error instanceof OpError) return usage(error.message, error.hint ?? HELP_HINT);
      if (!(error instanceof ArgumentScannerError)) {
        return usage(`Cannot read the arguments: ${error}`, HELP_HINT);
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
  const near = nearestWord(error.input, [...own, "help", ...Object.keys(GLOBAL_FLAGS)]);
  return near ? [`--${near}`] : [];
}

/** Placeholders are in capitals, flags are not. */
function flagName(name: string): string {
  return name === name.toUpperCase() ? name : `--${name}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function nearest(words: readonly string[]): string {
  return words.length === 0
    ? HELP_HINT
    : `did you mean ${
      words.map((word) => word.replaceAll("`", "")).join(" or ")
    }? ${HELP_HINT}`;
}

/**
 * Moves global flags from before the command to right behind its last word, where
 * @stricli/core takes them.
 *
 * @param leading flags found in front
 * @param rest the command line from its first other word on
 */
export function placeGlobals(
  app: Application<CliContext>,
  leading: readonly string[],
  rest: readonly string[],
): string[] {
  let target = app.root;
  let words = 0;
  while ("getRoutingTargetForInput" in target && words < rest.length) {
    const next = target.getRoutingTargetForInput(rest[words]!);
    if (!next) break;
    target = next;
    words += 1;
  }
  const inCommand = !("getRoutingTargetForInput" in target);
  if (!inCommand) return [...rest];
  return [...rest.slice(0, words), ...leading, ...rest.slice(words)];
}
