/** Waiting for `op-dbus confirm` from a second command. */
import type { Layout } from "../base/layout.ts";
import { isConfirmed } from "./journal.ts";

const POLL_MS = 100;

/**
 * Waits for the confirmation.
 *
 * @param until when to give up
 * @param signal Ctrl-C
 */
export async function awaitConfirmation(
  layout: Layout,
  checkpoint: string,
  until: Date,
  signal?: AbortSignal,
): Promise<"confirmed" | "late" | "interrupted"> {
  for (;;) {
    if (isConfirmed(layout, checkpoint)) return "confirmed";
    if (signal?.aborted) return "interrupted";
    if (Date.now() >= until.getTime()) return "late";
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
