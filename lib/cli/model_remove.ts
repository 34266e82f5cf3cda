/** op-dbus model remove */
import { ConfirmationError, OpError } from "../base/errors.ts";
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import { formatSize } from "../base/units.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { argument, DRY_RUN, toggle, YES } from "./flags.ts";
import { openCache } from "./open_cache.ts";

interface RemoveFlags {
  readonly dropVectors?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const modelRemove = command<RemoveFlags, [string]>({
  brief: "Remove a model, and its vectors if you want",
  description:
    "Vectors of the model stay in the cache, and are found again should the\n" +
    "model come back; --drop-vectors removes them. On a terminal you are asked.",
  examples: [
    "op-dbus model remove minilm --dry-run",
    "op-dbus model remove minilm --drop-vectors --yes",
  ],
  flags: {
    dropVectors: toggle("Also remove its vectors from the cache"),
    dryRun: DRY_RUN,
    yes: YES,
  },
  positional: { kind: "tuple", parameters: [argument("Name", "NAME")] },
  async run(context, flags, name) {
    const { requireRoot } = await import("../base/root.ts");
    requireRoot(context.layout.root);
    const { findModel, removeModel } = await import("../embed/model/store.ts");
    const record = findModel(context.layout, name);
    const cache = await cacheOf(context);
    // Another name for the same files still answers with those vectors.
    const vectors = cache?.removeModel(record.digest, true) ??
      { removed: 0, removedBytes: 0 };
    const bytes = record.files.reduce((sum, file) => sum + file.size_bytes, 0);
    const held = `${vectors.removed} vectors (${formatSize(vectors.removedBytes)})`;
    let drop = flags.dropVectors ?? false;
    if (!flags.dryRun) {
      const also = drop ? ` and ${held}` : "";
      const what = `Remove the model ${name} (${formatSize(bytes)})${also}`;
      await confirm(context, what, flags.yes ?? false);
      const offer = !drop && !flags.yes && vectors.removed > 0;
      if (offer) drop = await agrees(context, `Remove its ${held} as well`);
      await removeModel(context.layout, name, { signal: context.signal });
      if (drop) cache?.removeModel(record.digest);
    }
    if (!drop && vectors.removed > 0) {
      context.out.note(`its ${held} stay in the cache; --drop-vectors removes them`);
    }
    context.out.result(
      {
        name,
        digest: record.digest,
        removed_bytes: bytes,
        vectors: vectors.removed,
        vectors_dropped: drop ? vectors.removed : 0,
        dry_run: flags.dryRun ?? false,
      },
      () => {
        const verb = flags.dryRun ? "Would remove" : "Removed";
        return `${verb} ${name} (${formatSize(bytes)})${drop ? ` and ${held}` : ""}`;
      },
    );
  },
});

/** The cache, where there is one. */
async function cacheOf(context: Context): Promise<EmbeddingCache | null> {
  try {
    return await openCache(context);
  } catch (error) {
    const none = error instanceof OpError &&
      ["no_root", "not_found"].includes(error.code);
    if (none) return null;
    throw error;
  }
}

async function agrees(context: Context, question: string): Promise<boolean> {
  try {
    await confirm(context, question, false);
    return true;
  } catch (error) {
    if (error instanceof ConfirmationError) return false;
    throw error;
  }
}
