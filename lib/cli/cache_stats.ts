/** op-dbus cache stats */
import { formatDuration, formatSize } from "../base/units.ts";
import type { CacheStats } from "../cache/stats.ts";
import { command } from "./command.ts";
import { openCache } from "./open_cache.ts";
import { table } from "./table.ts";

export const cacheStats = command({
  brief: "Show what the cache holds, what it saved and how it is used",
  examples: ["op-dbus cache stats", "op-dbus cache stats --json"],
  flags: {},
  async run(context) {
    const stats = (await openCache(context, true)).stats();
    context.out.result(asJson(stats), () => asText(stats));
  },
});

function asJson(stats: CacheStats) {
  const { lifetime, fileSystem } = stats;
  return {
    entries: stats.entries,
    vector_bytes: stats.vectorBytes,
    loose_files: stats.looseFiles,
    packs: stats.packs.map(({ residentBytes, ...rest }) => ({
      ...rest,
      resident_bytes: residentBytes,
    })),
    freed_by_compaction_bytes: stats.freedBytes,
    index_bytes: stats.indexBytes,
    codecs: stats.codecs.map(({ plainBytes, ...rest }) => ({
      ...rest,
      plain_bytes: plainBytes,
    })),
    models: stats.models,
    ages: stats.ages.map(({ upToMs, entries }) => ({ up_to_ms: upToMs, entries })),
    lifetime: {
      memory_hits: lifetime.memoryHits,
      pack_hits: lifetime.packHits,
      loose_hits: lifetime.looseHits,
      misses: lifetime.misses,
      healed: lifetime.healed,
      upgraded: lifetime.upgraded,
    },
    file_system: {
      total_bytes: fileSystem.totalBytes,
      available_bytes: fileSystem.availableBytes,
    },
  };
}

function asText(stats: CacheStats): string {
  const { lifetime } = stats;
  const hits = lifetime.memoryHits + lifetime.packHits + lifetime.looseHits;
  const asked = hits + lifetime.misses;
  const rate = asked === 0 ? "" : ` (${(100 * hits / asked).toFixed(1)} % hits)`;
  const lines = [
    `${stats.entries} vectors, ${formatSize(stats.vectorBytes)} encoded; index ${
      formatSize(stats.indexBytes)
    }; ${stats.looseFiles} loose files`,
    `since it was made: ${lifetime.memoryHits} hits in memory, ${lifetime.packHits} in packs, ` +
    `${lifetime.looseHits} in loose files, ` +
    `${lifetime.misses} misses${rate}; ${lifetime.healed} healed, ${lifetime.upgraded} upgraded`,
    `file system: ${formatSize(stats.fileSystem.availableBytes)} free of ${
      formatSize(stats.fileSystem.totalBytes)
    }`,
  ];
  if (stats.freedBytes !== 0) {
    lines.push(`compaction freed ${formatSize(stats.freedBytes)}, measured by statfs`);
  }
  if (stats.packs.length > 0) lines.push("", packTable(stats));
  if (stats.entries > 0) {
    lines.push("", codecTable(stats), "", modelTable(stats), "", ages(stats));
  }
  return lines.join("\n");
}

function packTable({ packs }: CacheStats): string {
  return table(
    ["PACK", "MODEL", "CODEC", "VECTORS", "DELETED", "BYTES", "IN MEMORY"],
    packs.map((pack) => [
      String(pack.number),
      pack.model,
      pack.codec,
      String(pack.records),
      String(pack.deleted),
      formatSize(pack.bytes),
      `${(100 * pack.residentBytes / pack.bytes).toFixed(0)} %`,
    ]),
    [3, 4, 5, 6],
  );
}

function codecTable({ codecs }: CacheStats): string {
  return table(
    ["CODEC", "VECTORS", "BYTES", "SAVED"],
    codecs.map(({ codec, entries, bytes, plainBytes }) => [
      codec,
      String(entries),
      formatSize(bytes),
      `${(100 * (1 - bytes / plainBytes)).toFixed(1)} %`,
    ]),
    [1, 2, 3],
  );
}

function modelTable({ models }: CacheStats): string {
  return table(
    ["MODEL", "DIMENSIONS", "VECTORS"],
    models.map(({ name, dimensions, entries }) => [name, `${dimensions}`, `${entries}`]),
    [1, 2],
  );
}

const BAR_COLUMNS = 40;

/** A small histogram of how long ago entries were last used. */
function ages({ ages }: CacheStats): string {
  const most = Math.max(...ages.map(({ entries }) => entries));
  return table(
    ["LAST USED WITHIN", "VECTORS", ""],
    ages.map(({ upToMs, entries }) => [
      upToMs === null ? "longer" : formatDuration(upToMs),
      String(entries),
      "#".repeat(Math.ceil(BAR_COLUMNS * entries / most)),
    ]),
    [1],
  );
}
