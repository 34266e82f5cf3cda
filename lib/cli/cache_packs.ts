/** op-dbus cache compact, op-dbus cache warm */
import { formatSize } from "../base/units.ts";
import { command } from "./command.ts";
import { sizeFlag, toggle } from "./flags.ts";
import { openCache } from "./open_cache.ts";
import { progressBar } from "./progress.ts";

export const cacheCompact = command<{ full?: boolean }>({
  brief: "Move loose vectors into packs, and merge packs that have grown alike",
  description:
    "Safe at any moment: what is replaced is removed last. Other processes may\n" +
    "go on using the cache meanwhile.",
  examples: ["op-dbus cache compact", "op-dbus cache compact --full"],
  flags: {
    full: toggle("Merge all packs of a model into one and reclaim all deleted space"),
  },
  async run(context, { full }) {
    const cache = await openCache(context);
    const bar = progressBar(context.out, "Compacting", 0, "vectors");
    let report;
    try {
      report = cache.compact({
        full: full ?? false,
        signal: context.signal,
        progress: (done, total) => bar.update(done, total),
      });
    } finally {
      bar.stop();
    }
    const { packed, merged, dropped, left, packsBefore, packsAfter, freedBytes } = report;
    context.out.result(
      {
        packed,
        merged,
        dropped,
        left,
        packs_before: packsBefore,
        packs_after: packsAfter,
        freed_bytes: freedBytes,
      },
      () =>
        `${packed} vectors packed, ${merged} merged, ${dropped} dropped, ${left} left ` +
        `loose; ${packsBefore} packs before, ${packsAfter} now\n` +
        `${freedBytes < 0 ? "took" : "freed"} ${formatSize(Math.abs(freedBytes))}, ` +
        "measured by statfs",
    );
  },
});

const DEFAULT_LIMIT_BYTES = 2 ** 30;

interface WarmFlags {
  readonly by?: "recency" | "frequency";
  readonly limit?: number;
}

export const cacheWarm = command<WarmFlags>({
  brief: "Bring the vectors that are used most into memory, within a limit",
  description:
    "Reads packs into the kernel's page cache, tables first, and waits for them.\n" +
    "The kernel gives the memory back when something else needs it.",
  examples: [
    "op-dbus cache warm --limit 512M",
    "op-dbus cache warm --by frequency --limit 2G",
  ],
  flags: {
    by: {
      kind: "enum",
      values: ["recency", "frequency"] as const,
      brief: "Which first: the last used (default) or the most used",
      optional: true,
    },
    limit: sizeFlag("Bring in at most so much (default 1G)"),
  },
  async run(context, { by, limit }) {
    const cache = await openCache(context, true);
    const report = cache.warm({
      by: by ?? "recency",
      limitBytes: limit ?? DEFAULT_LIMIT_BYTES,
      signal: context.signal,
    });
    context.out.result(
      {
        vectors: report.vectors,
        bytes: report.bytes,
        resident_before_bytes: report.residentBeforeBytes,
        resident_after_bytes: report.residentAfterBytes,
        total_bytes: report.totalBytes,
      },
      () =>
        `${report.vectors} vectors on ${formatSize(report.bytes)}; in memory before: ` +
        `${formatSize(report.residentBeforeBytes)}, now: ` +
        `${formatSize(report.residentAfterBytes)} of ${formatSize(report.totalBytes)}`,
    );
  },
});
