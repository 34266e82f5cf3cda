/**
 * The errors that a command may end with. Each carries the exit code, a stable code for
 * programs, and what to do about it.
 *
 * A message is one line: what failed, on what, why. No full stop at the end; no
 * contractions; "Cannot ..." rather than "Failed to ...". The hint says what to do.
 */
import { isSysError } from "../../ffi/errno.ts";

/** Exit codes of the contract (DESIGN.md). */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  differences: 3,
  confirmationNeeded: 4,
  locked: 5,
  rolledBack: 6,
  interrupted: 130,
} as const;
export type ExitCode = typeof EXIT[keyof typeof EXIT];

/** What an error adds to its message. */
export interface ErrorDetails {
  /** What to do about it, one line. */
  readonly hint?: string;
  /** The error underneath; shown only with `-v`. */
  readonly cause?: unknown;
}

/** A failure that a user should see as one line. Anything else thrown is a defect. */
export class OpError extends Error {
  override readonly name: string = "OpError";
  readonly hint: string | undefined;
  readonly exitCode: ExitCode = EXIT.failed;

  /**
   * @param code stable, snake_case, for programs: `no_space`, `not_btrfs`
   * @param message one line: what failed, on what, why
   * @param details hint and cause
   */
  constructor(readonly code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.hint = details.hint;
  }
}

/** Wrong usage or an invalid input file: exit 2. */
export class InputError extends OpError {
  override readonly name = "InputError";
  override readonly exitCode = EXIT.usage;
}

/** Differences were found, or a verification failed: exit 3. */
export class DifferenceError extends OpError {
  override readonly name = "DifferenceError";
  override readonly exitCode = EXIT.differences;
}

/** A question would have to be asked, and nobody can answer: exit 4. */
export class ConfirmationError extends OpError {
  override readonly name = "ConfirmationError";
  override readonly exitCode = EXIT.confirmationNeeded;
}

/** Another op-dbus holds the lock: exit 5. */
export class LockedError extends OpError {
  override readonly name = "LockedError";
  override readonly exitCode = EXIT.locked;
}

/** Failed, and what had been done was undone: exit 6. */
export class RolledBackError extends OpError {
  override readonly name = "RolledBackError";
  override readonly exitCode = EXIT.rolledBack;
}

/** Stopped by SIGINT or SIGTERM: exit 130. */
export class InterruptedError extends OpError {
  override readonly name = "InterruptedError";
  override readonly exitCode = EXIT.interrupted;
}

const SYSTEM_HINTS: Readonly<Record<string, readonly [code: string, hint: string]>> = {
  EACCES: ["permission_denied", "run as root, or choose a folder of yours with --root"],
  EPERM: ["permission_denied", "run as root, or choose a folder of yours with --root"],
  EROFS: ["read_only", "remount the file system writable, or choose another --root"],
  ENOSPC: ["no_space", "free some space (op-dbus cache clean, op-dbus snapshot prune)"],
  EDQUOT: ["no_space", "raise the quota or free some space"],
  ENOENT: ["not_found", "check the path"],
  ENOTDIR: ["not_a_folder", "check the path"],
  EISDIR: ["is_a_folder", "name a file, not a folder"],
  ENOTTY: ["not_btrfs", "make a btrfs image with: op-dbus init --loopback 2G"],
  EIO: ["io_error", "check the disk (dmesg, btrfs scrub)"],
  EMFILE: ["too_many_files", "raise the limit on open files (ulimit -n)"],
};

/**
 * Any error as one a user can read. An {@link OpError} passes through; a failed system
 * call or a Deno file error gets its code and hint; the rest keeps its message and is
 * marked as a defect.
 *
 * @param error anything caught
 * @param doing what was being done, e.g. `Cannot write the index`
 */
export function asOpError(error: unknown, doing?: string): OpError {
  if (error instanceof OpError) return error;
  const prefix = doing ? `${doing}: ` : "";
  const text = error instanceof Error ? error.message : String(error);
  if (isSysError(error)) {
    const [code, hint] = SYSTEM_HINTS[error.code] ?? ["system_call", undefined];
    return new OpError(code, prefix + text, { cause: error, ...(hint && { hint }) });
  }
  const denoCode = error instanceof Error
    ? (error as { code?: unknown }).code
    : undefined;
  const known = typeof denoCode === "string" ? SYSTEM_HINTS[denoCode] : undefined;
  if (known) {
    return new OpError(known[0], prefix + text, { cause: error, hint: known[1] });
  }
  return new OpError("internal", prefix + text, {
    cause: error,
    hint: "this is a defect of op-dbus; run again with -v and report what it prints",
  });
}
