/**
 * What is under way: written before the first call, removed when all is settled. What a
 * crash leaves tells the next command which checkpoint brings back what was there.
 */
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { isObject } from "../dbus/value.ts";
import { createJson, readJson, removeFile, StateFiles, writeJson } from "./files.ts";

/** The journal of one apply. */
export interface Journal {
  /** The checkpoint made before the first call. */
  readonly checkpoint: string;
  readonly pid: number;
  /** ISO time. */
  readonly started: string;
  readonly changes: readonly string[];
  /** ISO time until which `op-dbus confirm` keeps the changes; null: nothing to confirm. */
  readonly confirm_until: string | null;
}

/** The journal that is there, or null. */
export function readJournal(layout: Layout): Journal | null {
  const value = readJson(new StateFiles(layout).journal);
  return isObject(value) && typeof value.checkpoint === "string"
    ? value as unknown as Journal
    : null;
}

/** Makes a journal durable, in place of the one before. */
export function writeJournal(layout: Layout, journal: Journal): void {
  writeJson(new StateFiles(layout).journal, journal);
}

/** Makes durable that an apply waits to be confirmed. */
export function offerConfirmation(layout: Layout, journal: Journal): void {
  // What an apply that crashed between two removals may have left.
  removeFile(new StateFiles(layout).confirmation);
  writeJournal(layout, journal);
}

/** Nothing is under way any more. */
export function clearJournal(layout: Layout): void {
  const files = new StateFiles(layout);
  removeFile(files.journal);
  removeFile(files.confirmation);
}

/**
 * Refuses to go on over what an earlier apply left. Called with the lock held, so the one
 * who wrote it is gone.
 *
 * @throws {OpError} `interrupted_apply`
 */
export function requireSettled(layout: Layout): void {
  const journal = readJournal(layout);
  if (!journal) return;
  const what = journal.confirm_until === null
    ? "stopped in the middle"
    : "was never confirmed and could not be reverted";
  throw new OpError(
    "interrupted_apply",
    `An earlier apply of ${journal.changes.length} changes ${what} (${journal.started})`,
    {
      hint: `bring back what was: op-dbus rollback --to-checkpoint ${journal.checkpoint}`,
    },
  );
}

/**
 * Keeps the changes of an apply that waits for it.
 *
 * @returns the journal that was confirmed
 * @throws {OpError} `nothing_to_confirm` when none waits or it is too late
 */
export function confirmPending(layout: Layout, now: Date = new Date()): Journal {
  const journal = readJournal(layout);
  if (!journal?.confirm_until) {
    throw new OpError("nothing_to_confirm", "No apply waits to be confirmed", {
      hint: "apply with --confirm-within 60s, then confirm from another terminal",
    });
  }
  if (Date.parse(journal.confirm_until) <= now.getTime()) {
    throw new OpError(
      "nothing_to_confirm",
      `Cannot confirm: the time was up at ${journal.confirm_until}`,
      { hint: "the changes were reverted; apply again" },
    );
  }
  if (decide(layout, journal.checkpoint, true)) return journal;
  if (isConfirmed(layout, journal.checkpoint)) return journal;
  throw new OpError("nothing_to_confirm", "Cannot confirm: the apply is being undone", {
    hint: "it was too late, or the apply was stopped; apply again",
  });
}

/** True once the apply with this checkpoint was confirmed. */
export function isConfirmed(layout: Layout, checkpoint: string): boolean {
  const value = readJson(new StateFiles(layout).confirmation);
  return isObject(value) && value.checkpoint === checkpoint && value.kept === true;
}

/**
 * Takes back that an apply can be confirmed. A confirmation and this may come in the same
 * moment: only one of them counts, and both sides know which.
 *
 * @returns false when it has been confirmed: then it stays so
 */
export function withdrawOffer(layout: Layout, checkpoint: string): boolean {
  return decide(layout, checkpoint, false) || !isConfirmed(layout, checkpoint);
}

function decide(layout: Layout, checkpoint: string, kept: boolean): boolean {
  return createJson(new StateFiles(layout).confirmation, { checkpoint, kept });
}
