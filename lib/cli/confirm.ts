/** Asking before what cannot be undone. */
import { ConfirmationError } from "../base/errors.ts";
import type { Context } from "./context.ts";

const HINT = "run again with --yes to agree, or with --dry-run to see what it would do";

/**
 * Asks, unless `yes`. The question goes to standard error, the answer comes from the
 * terminal.
 *
 * @param question what will happen, one line, no question mark
 * @param yes the command's `--yes`
 * @throws {ConfirmationError} when there is no terminal to ask, or the answer is no
 */
export async function confirm(
  context: Context,
  question: string,
  yes: boolean,
): Promise<void> {
  if (yes) return;
  if (!Deno.stdin.isTerminal() || context.out.json) {
    throw new ConfirmationError("confirmation_needed", `${question}: not confirmed`, {
      hint: HINT,
    });
  }
  Deno.stderr.writeSync(new TextEncoder().encode(`${question}? [y/N] `));
  const answer = await readAnswer(context.signal);
  if (answer === "y" || answer === "yes") return;
  throw new ConfirmationError("declined", `${question}: declined`, { hint: HINT });
}

/** One line from the terminal. Asynchronous, so that Ctrl-C is seen while it waits. */
async function readAnswer(signal: AbortSignal): Promise<string> {
  const buffer = new Uint8Array(256);
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const count = await Promise.race([Deno.stdin.read(buffer), stopped]);
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0)).trim().toLowerCase();
}
