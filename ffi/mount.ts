/** Mounting and unmounting. */
import { check, cString, errno, sys } from "./libc.ts";

/** mount(2). */
export function mount(
  source: string,
  target: string,
  type: string,
  flags: bigint,
  data: string,
): void {
  const result = sys.mount(
    cString(source),
    cString(target),
    cString(type),
    flags,
    cString(data),
  );
  check(result, errno[0], "mount", target);
}

/** umount2(2). */
export function unmount(target: string, flags = 0): void {
  check(sys.umount2(cString(target), flags), errno[0], "umount2", target);
}
