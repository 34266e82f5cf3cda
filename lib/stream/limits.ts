/** How large, deep and slow a stream may be. Every number from outside meets one. */

const KIB = 1024, MIB = 1024 * KIB, GIB = 1024 * MIB;

/** Limits on a stream. Sizes in bytes, counts in pieces. */
export interface StreamLimits {
  /** One command, header included. */
  readonly commandBytes: number;
  /** Components of a path. */
  readonly depth: number;
  /** Names of files, folders, links and other nodes that exist at one time. */
  readonly names: number;
  /** Bytes of those names (without their folders') and of symlinks' targets. */
  readonly textBytes: number;
  /** Commands in the stream. */
  readonly commands: number;
  /** The length of one file, holes included. */
  readonly fileBytes: number;
  /** The lengths of all files together, holes included. */
  readonly totalBytes: number;
  /** Holes of all files together: length that no command wrote. */
  readonly sparseBytes: number;
  /** Names and values of all extended attributes together. */
  readonly xattrBytes: number;
  /** Pieces that file contents consist of, after clones and overwriting. */
  readonly extents: number;
  /** Bytes of the stream once decompressed. */
  readonly streamBytes: number;
  /** Decompressed bytes per compressed byte, past the first `expansionFreeBytes`. */
  readonly expansionRatio: number;
  readonly expansionFreeBytes: number;
  /** zstd frames around the stream; `pzstd` makes one for every few MiB. */
  readonly zstdFrames: number;
  /** Wall-clock time for the whole, milliseconds. */
  readonly timeMs: number;
}

/** For streams from strangers: roomy for a plugin, tight for an attack. */
export const PLUGIN_LIMITS: StreamLimits = {
  commandBytes: MIB,
  depth: 64,
  names: 200_000,
  textBytes: 16 * MIB,
  commands: 5_000_000,
  fileBytes: 2 * GIB,
  totalBytes: 4 * GIB,
  sparseBytes: GIB,
  xattrBytes: 16 * MIB,
  extents: 1_000_000,
  streamBytes: 5 * GIB,
  expansionRatio: 1000,
  expansionFreeBytes: 64 * MIB,
  zstdFrames: 100_000,
  timeMs: 10 * 60_000,
};

/** For the host's own snapshots: bounded by memory and the disk, not by suspicion. */
export const HOST_LIMITS: StreamLimits = {
  commandBytes: MIB,
  depth: 2048,
  names: Infinity,
  textBytes: Infinity,
  commands: Infinity,
  fileBytes: 2 ** 53,
  totalBytes: Infinity,
  sparseBytes: Infinity,
  xattrBytes: Infinity,
  extents: Infinity,
  streamBytes: Infinity,
  expansionRatio: Infinity,
  expansionFreeBytes: 0,
  zstdFrames: Infinity,
  timeMs: 24 * 3_600_000,
};
