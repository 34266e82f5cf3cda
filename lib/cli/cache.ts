/** op-dbus cache */
import { InputError, OpError } from "../base/errors.ts";
import { command, group } from "./command.ts";
import { cacheVerify } from "./cache_verify.ts";
import { cacheClean, cacheClear } from "./cache_remove.ts";
import { cacheCompact, cacheWarm } from "./cache_packs.ts";
import { cacheStats } from "./cache_stats.ts";
import { argument, countFlag, textFlag } from "./flags.ts";
import { openCache, openCacheOf } from "./open_cache.ts";
import {
  EMBEDDER_FLAGS,
  type EmbedderFlags,
  openEmbedder,
  storedIdentity,
} from "./open_embedder.ts";
import { table } from "./table.ts";

const DEFAULT_RESULTS = 10;

interface GetFlags extends Pick<EmbedderFlags, "model"> {
  readonly snapshot?: string;
}

const get = command<GetFlags, [string]>({
  brief: "Print the cached vector of a text; computes nothing",
  examples: [
    'op-dbus cache get "open port 80" --json',
    'op-dbus cache get "open port 80" --snapshot cache@2025-01-15-10:00',
  ],
  flags: {
    model: EMBEDDER_FLAGS.model,
    snapshot: textFlag("Read it out of this snapshot of the cache", "NAME"),
  },
  positional: { kind: "tuple", parameters: [argument("Text", "TEXT")] },
  async run(context, flags, text) {
    if (text === "") throw new InputError("empty_text", "Cannot look up an empty text");
    const cache = flags.snapshot === undefined
      ? await openCache(context, true)
      : await openCacheOf(context, flags.snapshot);
    const found = cache.get(text, await storedIdentity(context, flags));
    if (!found) {
      throw new OpError("not_cached", `Not in the cache: ${JSON.stringify(text)}`, {
        hint: "compute and store it with: op-dbus embed TEXT",
      });
    }
    const { key, codec, sizeBytes, vector } = found;
    const numbers = Array.from(vector);
    context.out.result(
      { key, codec, size_bytes: sizeBytes, vector: numbers },
      () => JSON.stringify(numbers),
    );
  },
});

const search = command<EmbedderFlags & { count?: number }, [string]>({
  brief: "Find the cached texts nearest to a query, exactly",
  examples: ['op-dbus cache search "disk full" -k 5'],
  flags: {
    ...EMBEDDER_FLAGS,
    count: countFlag("How many results (default 10)", "N", 1),
  },
  aliases: { k: "count" },
  positional: { kind: "tuple", parameters: [argument("Query", "QUERY")] },
  async run(context, flags, query) {
    if (query === "") {
      throw new InputError("empty_text", "Cannot search for an empty text");
    }
    const cache = await openCache(context, true);
    // A model may mark questions; the stored texts are answers.
    const stored = await storedIdentity(context, flags);
    const embedder = await openEmbedder(context, flags, "query");
    const { matrix } = await embedder.embed([query], { signal: context.signal });
    const k = flags.count ?? DEFAULT_RESULTS;
    const matches = cache.search(matrix, k, stored, context.signal);
    context.out.result(
      { matches },
      () =>
        matches.length === 0 ? "The cache holds no text of this model" : table(
          ["SCORE", "TEXT"],
          matches.map(({ score, text, key }) => [score.toFixed(4), text ?? `(${key})`]),
        ),
    );
  },
});

export const cache = group("Look into the embedding cache and keep it in order", {
  stats: cacheStats,
  get,
  search,
  compact: cacheCompact,
  warm: cacheWarm,
  verify: cacheVerify,
  clean: cacheClean,
  clear: cacheClear,
});
