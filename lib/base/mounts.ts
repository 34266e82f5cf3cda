/** What is mounted where: /proc/self/mountinfo, proc(5). */
import { readTextFile } from "../../ffi/directory.ts";

/** One mount. */
export interface Mount {
  /** Where it is mounted. */
  readonly target: string;
  /** The folder of the file system that is mounted; `/` for all of it. */
  readonly source: string;
  readonly type: string;
  readonly device: string;
  /** Options of the mount and of the file system together. */
  readonly options: readonly string[];
}

const MAX_MOUNTINFO_BYTES = 16 * 1024 * 1024;

/** The mounts of this process's namespace, in the kernel's order. */
export function mounts(): Mount[] {
  return parseMounts(readTextFile("/proc/self/mountinfo", MAX_MOUNTINFO_BYTES));
}

/** Parses the text of mountinfo. */
export function parseMounts(text: string): Mount[] {
  return text.split("\n").filter(Boolean).map((line) => {
    const [left, right] = line.split(" - ");
    const [, , , source, target, options] = left!.split(" ");
    const [type, device, superOptions] = right!.split(" ");
    return {
      target: unescape(target!),
      source: unescape(source!),
      type: type!,
      device: unescape(device!),
      options: [...new Set([...options!.split(","), ...superOptions!.split(",")])],
    };
  });
}

/** Spaces and the like are written as three octal digits. */
function unescape(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const out: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    const octal = /^\\[0-7]{3}/.exec(String.fromCharCode(...bytes.subarray(i, i + 4)));
    out.push(octal ? parseInt(octal[0].slice(1), 8) : bytes[i]!);
    if (octal) i += 3;
  }
  return new TextDecoder().decode(Uint8Array.from(out));
}

/**
 * The mount that a path lies in: the last of those with the longest target above it.
 *
 * @param path absolute, with no links in it
 */
export function mountOf(path: string, among: readonly Mount[] = mounts()): Mount | null {
  let best: Mount | null = null;
  for (const mount of among) {
    const { target } = mount;
    const above = target === "/" || path === target || path.startsWith(`${target}/`);
    if (above && target.length >= (best?.target.length ?? 0)) best = mount;
  }
  return best;
}

/** True when something is mounted exactly here. */
export function isMountPoint(path: string, among: readonly Mount[] = mounts()): boolean {
  return among.some(({ target }) => target === path);
}
