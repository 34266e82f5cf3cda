/** What a stream may do, as data. The audit reads it; nothing else decides. */
import type { NodeKind } from "./tree.ts";

/** An allow-list over the command sequence. What is not named is refused. */
export interface StreamPolicy {
  /** For messages. */
  readonly name: string;
  readonly kinds: readonly NodeKind[];
  readonly hardLinks: boolean;
  /** Permission bits that may be set. */
  readonly modeMask: number;
  /** `root`: others are refused; `to-root`: others become root; `any`: kept. */
  readonly owners: "root" | "to-root" | "any";
  /** `inside`: a target must not leave the tree; `any`: kept as it is. */
  readonly symlinks: "inside" | "any";
  /** Names, or prefixes that end in `*`. */
  readonly xattrs: readonly string[];
  /** Inode attributes (`chattr`): ignored, or refused. They are never applied. */
  readonly fileattr: "ignore" | "refuse";
  /** Streams without file data (`send --no-data`). */
  readonly withoutData: boolean;
  /**
   * True: every path is resolved in a virtual tree that is kept in memory, whatever the
   * stream's length allows by the limits. False: for streams that are trusted to be the
   * host's own; paths are still checked and the kernel still keeps them beneath.
   */
  readonly virtualTree: boolean;
}

/** For plugins: files from strangers. */
export const PLUGIN_POLICY: StreamPolicy = {
  name: "plugin",
  kinds: ["file", "folder", "symlink"],
  hardLinks: true,
  modeMask: 0o777,
  owners: "to-root",
  symlinks: "inside",
  xattrs: ["user.*", "btrfs.compression"],
  fileattr: "ignore",
  withoutData: false,
  virtualTree: true,
};

/** For the host's own snapshots, which hold whatever the host holds. */
export const HOST_POLICY: StreamPolicy = {
  name: "host",
  kinds: ["file", "folder", "symlink", "char", "block", "fifo", "socket"],
  hardLinks: true,
  modeMask: 0o7777,
  owners: "any",
  symlinks: "any",
  xattrs: ["*"],
  fileattr: "ignore",
  withoutData: false,
  virtualTree: false,
};

/** True when a list like {@link StreamPolicy.xattrs} names `name`. */
export function isListed(list: readonly string[], name: string): boolean {
  return list.some((rule) =>
    rule.endsWith("*") ? name.startsWith(rule.slice(0, -1)) : name === rule
  );
}
