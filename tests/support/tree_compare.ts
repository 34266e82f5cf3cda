/** Compares two trees on disk with tools that nobody here wrote. */
import { sh } from "./scratch.ts";

/** What a comparison looks at. */
export interface CompareOptions {
  /** Modification times (default true). */
  readonly times?: boolean;
  /** Owners (default true). */
  readonly owners?: boolean;
}

/**
 * A tree as text: find's view of every entry (kind, mode, owner, size, mtime, links,
 * target), sha256sum of every file, getfattr of everything. Two trees are the same when
 * their texts are.
 */
export async function describeTree(
  path: string,
  options: CompareOptions = {},
): Promise<string> {
  const times = options.times === false ? "" : "%T@";
  const owners = options.owners === false ? "" : "%U:%G";
  // The root's time: the kernel leaves it out of a stream now and then. Sizes of folders differ between file systems and are nobody's content.
  const script = `set -e; cd "$1"; export LC_ALL=C
    find . -maxdepth 0 -printf '%p %y %m ${owners}\\n'
    find . -mindepth 1 \\( -type d -printf '%p %y %m ${owners} ${times}\\0' \\) -o \\
      -printf '%p %y %m ${owners} %s ${times} %n %l\\0' | sort -z | tr '\\0' '\\n'
    find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z | tr '\\0' '\\n'
    find . -print0 | sort -z | xargs -0 -r getfattr -h -d -m 'user|trusted|security' \\
      -e hex --absolute-names 2>/dev/null | grep -v '^security.selinux' || true`;
  return await sh("bash", "-c", script, "compare", path);
}
