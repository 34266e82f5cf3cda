/** Opens the audit chain of the root: for reading, and for noting what a command did. */
import type { ChainReader } from "../chain/reader.ts";
import type { Footprinter } from "../chain/footprints.ts";
import type { ChainRecorder } from "../chain/recorder.ts";
import type { Context } from "./context.ts";
import { openCache } from "./open_cache.ts";
import { openEmbedder } from "./open_embedder.ts";

/** The chain as it is now; closed when the command ends. */
export async function openChain(context: Context): Promise<ChainReader> {
  const { ChainReader } = await import("../chain/reader.ts");
  const { requireRoot } = await import("../base/root.ts");
  requireRoot(context.layout.root);
  const reader = new ChainReader(context.layout.timing);
  context.onClose(() => reader[Symbol.dispose]());
  return reader;
}

/**
 * The recorder that a command hands to whatever makes changes; closed when it ends.
 * Vectors of the blocks are made by the next semantic search, not by each command.
 */
export async function openRecorder(context: Context): Promise<ChainRecorder> {
  const { ChainRecorder } = await import("../chain/recorder.ts");
  const { requireRoot } = await import("../base/root.ts");
  const { config, layout } = context;
  const kind = requireRoot(layout.root);
  const each = kind === "btrfs" && config.get("chain.snapshot_every") === "operation";
  const recorder = new ChainRecorder(layout, {
    onNotice: (notice) => context.out.warn(`chain: ${notice}`),
    ...(each && {
      afterRecord: async () => {
        const { snapshotChain } = await import("../daemon/jobs.ts");
        await snapshotChain(layout, config);
      },
    }),
  });
  context.onClose(() => recorder[Symbol.dispose]());
  return recorder;
}

/** Embeds blocks through the cache, with the model of `--model` or the config. */
export async function openFootprinter(
  context: Context,
  model?: string,
): Promise<Footprinter> {
  const { cacheFootprinter } = await import("../daemon/footprinter.ts");
  return cacheFootprinter(
    await openCache(context),
    await openEmbedder(context, model === undefined ? {} : { model }),
  );
}
