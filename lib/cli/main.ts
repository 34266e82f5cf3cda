/** From arguments to an exit code. */
import { ExitCode, run } from "@stricli/core";
import { EXIT } from "../base/errors.ts";
import { application, loadRoutes } from "./app.ts";
import { COMPLETE_WORD } from "./completion_word.ts";
import type { Session } from "./command.ts";
import { interrupted, outputFor } from "./context.ts";
import { splitLeadingGlobals } from "./globals.ts";
import { ClosedPipeError, type Output } from "./output.ts";
import { Mistakes, placeGlobals, usageText } from "./usage.ts";

/**
 * Runs one command line.
 *
 * @param args without the program's name
 * @returns the exit code
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === COMPLETE_WORD) return await completeForShell(args.slice(1));
  const controller = new AbortController();
  const session: Session = {
    signal: controller.signal,
    releaseSignals: () => release(),
  };
  const release = stopOnSignals(controller, session);
  const fallback = outputFor({
    json: args.includes("--json"),
    verbose: args.includes("--verbose") || args.includes("-v"),
  });
  const out = (): Output => session.context?.out ?? fallback;
  const state: { failure?: unknown } = {};
  const { leading, rest } = splitLeadingGlobals(args);
  const mistakes = new Mistakes();
  const app = application(
    await loadRoutes(rest[0]),
    usageText(mistakes),
    (error) => {
      state.failure = error;
      return EXIT.failed;
    },
  );
  const process = {
    stdout: {
      write(text: string) {
        try {
          fallback.bytes(new TextEncoder().encode(text));
        } catch (error) {
          state.failure = error; // @stricli/core would print it with its stack
        }
      },
    },
    stderr: { write: (text: string) => void (text.trim() && out().note(text.trimEnd())) },
    exitCode: undefined as number | undefined,
  };
  const { args: placed, words } = placeGlobals(app, leading, rest);
  await run(app, placed, { process, session } as never);
  release();
  const wrong = mistakes.error(words);
  if (wrong) return reportFailure(wrong, out());
  if (state.failure !== undefined) return reportFailure(state.failure, out());
  return exitCodeOf(process.exitCode);
}

/** A Tab in a shell: not a command, so that it is fast and says nothing of its own. */
async function completeForShell(words: readonly string[]): Promise<number> {
  const { answerShell } = await import("./completions.ts");
  outputFor({}).bytes(new TextEncoder().encode(await answerShell(words)));
  return EXIT.done;
}

function reportFailure(failure: unknown, out: Output): number {
  if (failure instanceof ClosedPipeError) return EXIT.done;
  return out.error(failure).exitCode;
}

/** Maps @stricli/core's own (negative) codes to the contract's. */
function exitCodeOf(code: number | undefined): number {
  switch (code) {
    case ExitCode.UnknownCommand:
    case ExitCode.InvalidArgument:
      return EXIT.usage;
    default:
      return code === undefined || code >= 0 ? code ?? EXIT.done : EXIT.failed;
  }
}

/** The first SIGINT, SIGTERM or SIGHUP asks the command to stop; a second one insists. */
function stopOnSignals(controller: AbortController, session: Session): () => void {
  const handlers = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) => {
    const handler = () => {
      if (signal === "SIGHUP" && session.context?.survivesHangUp) return;
      if (controller.signal.aborted) Deno.exit(EXIT.interrupted);
      controller.abort(interrupted(signal));
    };
    Deno.addSignalListener(signal, handler);
    return () => Deno.removeSignalListener(signal, handler);
  });
  return () => handlers.splice(0).forEach((remove) => remove());
}
