/** Waiting for `op-dbus confirm` from a second command. */
import type { Layout } from "../base/layout.ts";
import { isConfirmed, withdrawOffer } from "./journal.ts";

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
    const stopped = signal?.aborted ?? false;
    if (stopped || Date.now() >= until.getTime()) {
      if (!withdrawOffer(layout, checkpoint)) return "confirmed";
      return stopped ? "interrupted" : "late";
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
