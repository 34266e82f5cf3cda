/** op-dbus cache clean, op-dbus cache clear */
import { InputError } from "../base/errors.ts";
import { formatAge, formatDuration, formatSize } from "../base/units.ts";
import type { Eviction } from "../cache/clean.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { countFlag, DRY_RUN, durationFlag, sizeFlag, toggle, YES } from "./flags.ts";
import { openCache } from "./open_cache.ts";

interface CleanFlags {
  readonly olderThan?: number;
  readonly maxEntries?: number;
  readonly maxSize?: number;
  readonly explain?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const cacheClean = command<CleanFlags>({
  brief: "Remove vectors that were not used for long, or beyond a limit",
  examples: [
    "op-dbus cache clean --older-than 90d --dry-run --explain",
    "op-dbus cache clean --max-size 2G --yes",
  ],
  flags: {
    olderThan: durationFlag("Remove what was last used longer ago"),
    maxEntries: countFlag("Keep at most so many, the most recently used"),
    maxSize: sizeFlag("Keep at most so many bytes of vectors, the most recently used"),
    explain: toggle("Say of each vector why it goes"),
    dryRun: DRY_RUN,
    yes: YES,
  },
  async run(context, flags) {
    const limits = {
      ...(flags.olderThan !== undefined && { olderThanMs: flags.olderThan }),
      ...(flags.maxEntries !== undefined && { maxEntries: flags.maxEntries }),
      ...(flags.maxSize !== undefined && { maxBytes: flags.maxSize }),
    };
    if (Object.keys(limits).length === 0) {
      throw new InputError("usage", "Cannot clean the cache: no limit is given", {
        hint: "name one, for example --older-than 90d",
      });
    }
    const cache = await openCache(context);
    const evictions: Eviction[] = [];
    const explain = flags.explain && { explain: (one: Eviction) => evictions.push(one) };
    let done = cache.clean({ ...limits, ...explain, dryRun: true });
    if (!flags.dryRun && done.removed > 0) {
      const what = `Remove ${done.removed} vectors (${formatSize(done.removedBytes)})`;
      await confirm(context, what, flags.yes ?? false);
      evictions.length = 0; // told again by what is really done
      done = cache.clean({ ...limits, ...explain });
    }
    if (!context.out.json) {
      for (const one of evictions) context.out.line(explained(one, limits));
    }
    context.out.result(
      {
        removed: done.removed,
        removed_bytes: done.removedBytes,
        reasons: { age: done.byAge, count: done.byCount, size: done.bySize },
        kept: done.kept,
        ...(flags.explain && { evictions: evictions.map(asJson) }),
        dry_run: flags.dryRun ?? false,
      },
      () =>
        `${flags.dryRun ? "Would remove" : "Removed"} ${done.removed} vectors ` +
        `(${formatSize(done.removedBytes)}): ${done.byAge} by age, ${done.byCount} by ` +
        `count, ${done.bySize} by size; ${done.kept} kept`,
    );
  },
});

interface Limits {
  readonly olderThanMs?: number;
  readonly maxEntries?: number;
  readonly maxBytes?: number;
}

/** A line for people. */
function explained({ key, usedMs, sizeBytes, reason }: Eviction, limits: Limits): string {
  const why = {
    age: `older than ${formatDuration(limits.olderThanMs ?? 0)}`,
    count: `beyond the ${limits.maxEntries} used last`,
    size: `beyond the ${formatSize(limits.maxBytes ?? 0)} used last`,
  };
  const age = formatAge(Math.max(0, Date.now() - usedMs));
  return `${key}  used ${age} ago, ${formatSize(sizeBytes)}: ${why[reason]}`;
}

function asJson({ key, usedMs, sizeBytes, reason }: Eviction) {
  return { key, used_ms: usedMs, size_bytes: sizeBytes, reason };
}

const AREAS = ["embeddings", "blocks", "queries", "diffs"] as const;
type Area = typeof AREAS[number];

type ClearFlags = Readonly<Partial<Record<Area | "all" | "dryRun" | "yes", boolean>>>;

export const cacheClear = command<ClearFlags>({
  brief: "Empty the cache, or parts of it; everything in it can be computed again",
  examples: ["op-dbus cache clear --queries", "op-dbus cache clear --all --yes"],
  flags: {
    embeddings: toggle("Vectors and their index"),
    blocks: toggle("Cached blocks of the chain"),
    queries: toggle("Cached query results of plugins"),
    diffs: toggle("Cached differences"),
    all: toggle("All four"),
    dryRun: DRY_RUN,
    yes: YES,
  },
  async run(context, flags) {
    const areas = AREAS.filter((area) => flags.all || flags[area]);
    if (areas.length === 0) {
      throw new InputError("usage", "Cannot clear the cache: nothing is named", {
        hint: "name --embeddings, --blocks, --queries, --diffs or --all",
      });
    }
    const plan = await clearAreas(context, areas, true);
    if (!flags.dryRun) {
      const total = Object.values(plan).reduce((sum, count) => sum + count, 0);
      const what = `Remove ${total} entries from ${areas.join(", ")}`;
      await confirm(context, what, flags.yes ?? false);
    }
    const done = flags.dryRun ? plan : await clearAreas(context, areas, false);
    context.out.result(
      { removed: done, dry_run: flags.dryRun ?? false },
      () =>
        Object.entries(done).map(([area, count]) =>
          `${flags.dryRun ? "Would remove" : "Removed"} ${count} from ${area}`
        ).join("\n"),
    );
  },
});

async function clearAreas(
  context: Context,
  areas: readonly Area[],
  dryRun: boolean,
): Promise<Record<string, number>> {
  const { emptyFolder } = await import("../base/empty_folder.ts");
  const { layout } = context;
  const folders = {
    blocks: [layout.blocksByNumber, layout.blocksByHash],
    queries: [layout.queries],
    diffs: [layout.diffs],
  };
  const removed: Record<string, number> = {};
  for (const area of areas) {
    if (area === "embeddings") {
      removed[area] = (await openCache(context)).clear(dryRun).removed;
    } else {
      removed[area] = folders[area].reduce(
        (sum, folder) => sum + emptyFolder(folder, dryRun),
        0,
      );
    }
  }
  return removed;
}
