/** Ends this process by SIGKILL at its n-th system call that changes something. */
import { sys } from "../../ffi/libc.ts";

/** libc's functions that change a file system. */
const CHANGING = [
  "ioctl",
  "renameat2",
  "unlinkat",
  "mkdirat",
  "symlinkat",
  "linkat",
  "write",
  "pwrite",
  "fsync",
  "syncfs",
  "ftruncate",
  "fchmod",
  "fsetxattr",
] as const;

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * From now on, counts calls; the process is gone before the n-th is made.
 *
 * @param n from 1; 0 never kills
 * @returns how many calls were made so far
 */
export function killAtCall(n: number): () => number {
  let count = 0;
  const table = sys as unknown as Record<string, AnyFunction>;
  for (const name of CHANGING) {
    const real = table[name]!;
    Object.defineProperty(table, name, {
      enumerable: true,
      value: (...args: unknown[]) => {
        if (++count === n) Deno.kill(Deno.pid, "SIGKILL");
        return real(...args);
      },
    });
  }
  return () => count;
}
