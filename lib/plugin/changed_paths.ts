/** Which paths of two trees differ. */
import { withFd } from "../../ffi/files.ts";
import { compareKeys, displayPath } from "../stream/paths.ts";
import { openFolderAt } from "./copy_tree.ts";
import { MARKER_FILE } from "./marker.ts";
import { fingerprints } from "./user_files.ts";

/**
 * Paths that are in one tree only, or differ in kind, content or mode; the marker of a
 * live plugin does not count.
 */
export function changedPaths(a: string, b: string): { key: string; shown: string }[] {
  const read = (path: string) =>
    withFd(openFolderAt(path), (fd) => fingerprints(fd, (key) => key !== MARKER_FILE));
  const first = read(a), second = read(b);
  return [...new Set([...first.keys(), ...second.keys()])].sort(compareKeys)
    .filter((key) => first.get(key) !== second.get(key))
    .map((key) => ({ key, shown: displayPath(key) }));
}
