/** op-dbus chain */
import type { Block } from "../chain/block.ts";
import type { BlockFilter } from "../chain/search.ts";
import { InputError } from "../base/errors.ts";
import { formatAge } from "../base/units.ts";
import { chainCheckpoint, chainProve } from "./chain_checkpoint.ts";
import { chainCompact, chainRecover } from "./chain_keep.ts";
import { chainExport } from "./chain_export.ts";
import { chainVerify } from "./chain_verify.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, countFlag, textFlag, toggle } from "./flags.ts";
import { FILTER_FLAGS, type FilterFlags, filterOf } from "./chain_filter.ts";
import { openChain, openFootprinter } from "./open_chain.ts";
import { table, visible } from "./table.ts";

const DEFAULT_LISTED = 20, DEFAULT_FOUND = 10;
/** Shortest beginning of a hash that is looked up. */
const HASH_MINIMUM = 6;

/** A block as `--json` has it. */
function blockJson({ header, hash, data }: Block) {
  return { ...header, hash, data };
}

function rows(blocks: readonly Block[]): string {
  const nowMs = Date.now();
  return table(
    ["BLOCK", "AGE", "CATEGORY", "ACTION", "WHAT", "WHO", "HASH"],
    blocks.map(({ header, hash }) => [
      String(header.number),
      formatAge(nowMs - Date.parse(header.time)),
      header.category,
      header.action,
      header.what,
      header.who,
      hash.slice(0, 12),
    ]),
    [0],
  );
}

const list = command<FilterFlags & { count?: number }>({
  brief: "List the newest blocks",
  examples: ["op-dbus chain list", "op-dbus chain list --category plugin --since 7d"],
  flags: { ...FILTER_FLAGS, count: countFlag("How many at most (default 20)", "N", 1) },
  aliases: { n: "count" },
  async run(context, { count, ...flags }) {
    const { listBlocks } = await import("../chain/search.ts");
    const reader = await openChain(context);
    const limit = count ?? DEFAULT_LISTED;
    const filter = await filterOf(flags);
    const blocks = await listBlocks(reader, filter, limit, context.signal);
    context.out.result(
      { size: reader.size, blocks: blocks.map(blockJson) },
      () => blocks.length === 0 ? "No blocks" : rows(blocks),
    );
  },
});

const show = command<object, [string]>({
  brief: "Show one block whole",
  examples: ["op-dbus chain show latest", "op-dbus chain show 17 --json"],
  flags: {},
  positional: {
    kind: "tuple",
    parameters: [argument("Number, hash, or latest", "N|HASH|latest")],
  },
  async run(context, _flags, which) {
    const reader = await openChain(context);
    const block = reader.read(await numberOf(context, reader, which));
    context.out.result(blockJson(block), () => {
      const { data, ...rest } = blockJson(block);
      const lines = Object.entries(rest).map(([key, value]) =>
        `${key.padEnd(10)} ${value}`
      );
      const details = data === null
        ? "data       dropped by chain compact"
        : `data       ${JSON.stringify(data, null, 2)}`;
      return [...lines, ...details.split("\n")].map(visible).join("\n");
    });
  },
});

async function numberOf(
  context: Context,
  reader: Awaited<ReturnType<typeof openChain>>,
  which: string,
): Promise<number> {
  if (which === "latest") return reader.size - 1;
  if (/^\d{1,15}$/.test(which)) {
    // Of a hash too, the first digits may all be decimal.
    const number = Number(which);
    if (number < reader.size || which.length < HASH_MINIMUM) return number;
  }
  if (/^[0-9a-f]{64}$/.test(which)) {
    const { BlockCache } = await import("../chain/block_cache.ts");
    return new BlockCache(context.layout).find(reader, which, context.signal);
  }
  if (/^[0-9a-f]+$/.test(which) && which.length >= HASH_MINIMUM) {
    const { findByPrefix } = await import("../chain/search.ts");
    return findByPrefix(reader, which, context.signal);
  }
  throw new InputError("usage", `Cannot show ${JSON.stringify(which)}: not a block`, {
    hint: `give a number, ${HASH_MINIMUM} digits of a hash or more, or latest`,
  });
}

interface SearchFlags extends FilterFlags {
  readonly semantic?: boolean;
  readonly model?: string;
  readonly count?: number;
}

const search = command<SearchFlags, [string]>({
  brief: "Find blocks by words, or by meaning",
  description:
    "--semantic compares vectors of the configured model; those of blocks that\n" +
    "have none yet are computed first.",
  examples: [
    "op-dbus chain search lxc",
    'op-dbus chain search "who opened port 80" --semantic',
  ],
  flags: {
    ...FILTER_FLAGS,
    semantic: toggle("By meaning rather than by words"),
    model: textFlag("Model for --semantic (default: the configured one)", "NAME"),
    count: countFlag("How many at most (default 10)", "N", 1),
  },
  aliases: { k: "count" },
  positional: { kind: "tuple", parameters: [argument("Query", "QUERY")] },
  async run(context, { semantic, model, count, ...flags }, query) {
    if (query.trim() === "") {
      throw new InputError("empty_text", "Cannot search for an empty text");
    }
    const reader = await openChain(context);
    const filter = await filterOf(flags);
    const limit = count ?? DEFAULT_FOUND;
    const found = semantic
      ? await searchByMeaning(context, reader, query, limit, filter, model)
      : await (await import("../chain/search.ts"))
        .searchText(reader, query, limit, filter, context.signal);
    context.out.result(
      { matches: found.map(({ block, score }) => ({ score, ...blockJson(block) })) },
      () => found.length === 0 ? "No blocks" : rows(found.map(({ block }) => block)),
    );
  },
});

async function searchByMeaning(
  context: Context,
  reader: Awaited<ReturnType<typeof openChain>>,
  query: string,
  limit: number,
  filter: BlockFilter,
  model?: string,
) {
  const { Footprints } = await import("../chain/footprints.ts");
  const footprinter = await openFootprinter(context, model);
  using footprints = new Footprints(context.layout.chainVectors, footprinter);
  return await footprints.search(reader, query, limit, filter, context.signal);
}

export const chain = group("Read and check the record of every change", {
  list,
  show,
  search,
  verify: chainVerify,
  checkpoint: chainCheckpoint,
  prove: chainProve,
  export: chainExport,
  compact: chainCompact,
  recover: chainRecover,
});
