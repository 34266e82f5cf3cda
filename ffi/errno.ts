/** Errors of system calls, with the number read at once after the call. */
import { ERRNO } from "./errno_table.ts";

/**
 * A failed system call. `message` reads `open /x: ENOSPC (No space left on device)`.
 */
export class SysError extends Error {
  override readonly name = "SysError";
  /** Symbolic name, e.g. `ENOSPC`; `E<number>` where Linux has none. */
  readonly code: string;

  /**
   * @param call the C function or ioctl that failed, e.g. `openat2`
   * @param path what it was called on; empty where there is no path
   * @param errno the error number, positive
   */
  constructor(readonly call: string, readonly path: string, readonly errno: number) {
    const [code, text] = ERRNO[errno] ?? [`E${errno}`, `error ${errno}`];
    super(`${call}${path ? ` ${path}` : ""}: ${code} (${text})`);
    this.code = code;
  }
}

/**
 * True when `error` is a failed system call, with one of the codes where any are given.
 *
 * @param error anything caught
 * @param codes names such as `ENOENT`; none means any
 */
export function isSysError(error: unknown, ...codes: string[]): error is SysError {
  return error instanceof SysError && (codes.length === 0 || codes.includes(error.code));
}
