/** op-dbus cache verify */
import { DifferenceError } from "../base/errors.ts";
import type { VerifyReport } from "../cache/verify.ts";
import { command } from "./command.ts";
import { countFlag, toggle } from "./flags.ts";
import { EMBEDDER_FLAGS, type EmbedderFlags } from "./open_embedder.ts";
import { openCache } from "./open_cache.ts";
import { progressBar } from "./progress.ts";

/** Keys that are listed by name; the rest is counted. */
const SHOWN = 20;

interface VerifyFlags extends EmbedderFlags {
  readonly repair?: boolean;
  readonly drift?: number;
}

export const cacheVerify = command<VerifyFlags>({
  brief: "Compare every stored vector with its checksum, or some with new ones",
  description: "Exit 3 when something is wrong. A damaged or missing vector is never\n" +
    "answered: it counts as a miss and is computed again. --repair drops such entries\n" +
    "now, gives vectors without a row one, and rebuilds an index that is garbage (the\n" +
    "old file is set aside, not deleted). --drift computes some vectors of a model again\n" +
    "and says how far they are from the stored ones.",
  examples: [
    "op-dbus cache verify",
    "op-dbus cache verify --repair",
    "op-dbus cache verify --drift 100 --model minilm --device wasm",
  ],
  flags: {
    repair: toggle("Drop what is damaged, adopt what is orphaned"),
    drift: countFlag("Compute N random vectors again and compare them", "N", 1),
    ...EMBEDDER_FLAGS,
  },
  async run(context, flags) {
    if (flags.drift !== undefined) {
      const { verifyDrift } = await import("./cache_drift.ts");
      return await verifyDrift(context, flags, flags.drift);
    }
    const { repair } = flags;
    const { verifyCache } = await import("../cache/embedding_cache.ts");
    const { requireRoot } = await import("../base/root.ts");
    const { isSound } = await import("../cache/verify.ts");
    // Not for its rows: a cache that nobody has used yet gets its index.
    if (!repair) (await openCache(context, true)).close();
    else requireRoot(context.layout.root);
    const bar = progressBar(context.out, "Verifying", 0, "vectors");
    let report;
    try {
      report = verifyCache(context.layout.embeddings, {
        repair: repair ?? false,
        signal: context.signal,
        progress: (done, total) => bar.update(done, total),
      });
    } finally {
      bar.stop();
    }
    const { rebuilt, ...rest } = report;
    const sound = isSound(report);
    context.out.result(
      {
        ...rest,
        sound,
        rebuilt: rebuilt && { set_aside: rebuilt.setAside, adopted: rebuilt.adopted },
      },
      () => describe(report),
    );
    if (rebuilt) context.out.warn(`the old index was set aside as ${rebuilt.setAside}`);
    if (!sound) {
      throw new DifferenceError("cache_damaged", "The cache is damaged", {
        hint:
          "nothing wrong is ever answered; mend it now with: op-dbus cache verify --repair",
      });
    }
  },
});

function describe(report: VerifyReport): string {
  const lines = [`${report.checked} vectors checked`];
  const list = (what: string, keys: readonly string[]) => {
    if (keys.length === 0) return;
    lines.push(`${what}: ${keys.length}`);
    for (const key of keys.slice(0, SHOWN)) lines.push(`  ${key}`);
    if (keys.length > SHOWN) lines.push(`  and ${keys.length - SHOWN} more`);
  };
  const done = report.repaired;
  const packs = report.packs.map((number) => `pack-${number}`);
  list(done ? "packs mended, or set aside" : "packs damaged, or their tables", packs);
  list(done ? "damaged, dropped" : "damaged", report.damaged);
  list(done ? "missing, dropped" : "missing", report.missing);
  list(done ? "without a row, adopted" : "without a row (harmless)", report.orphans);
  list("cut short, without a row (harmless)", report.unfinished);
  list("left by killed writers", report.temporaries);
  list("index", report.index);
  return lines.join("\n");
}
