/** Finding blocks: filters and plain text. */
import { InputError, OpError } from "../base/errors.ts";
import { type Block, blockText, decodeBlock, parseBlock } from "./block.ts";
import { type ChainReader, pause } from "./reader.ts";

const BLOCKS_PER_TURN = 512;
const decoder = new TextDecoder();

/** Which blocks; what is left out does not matter. */
export interface BlockFilter {
  readonly category?: string;
  readonly action?: string;
  /** Part of `what`, upper and lower case alike. */
  readonly what?: string;
  readonly who?: string;
  /** Not before. */
  readonly since?: Date;
  /** Before. */
  readonly until?: Date;
  /** First and last number. */
  readonly from?: number;
  readonly to?: number;
}

/** True when a block passes. */
export function matches({ header }: Block, filter: BlockFilter): boolean {
  const time = Date.parse(header.time);
  return (filter.category === undefined || header.category === filter.category) &&
    (filter.action === undefined || header.action === filter.action) &&
    (filter.what === undefined || contains(header.what, filter.what)) &&
    (filter.who === undefined || contains(header.who, filter.who)) &&
    (filter.since === undefined || time >= filter.since.getTime()) &&
    (filter.until === undefined || time < filter.until.getTime());
}

function contains(text: string, piece: string): boolean {
  return text.toLowerCase().includes(piece.toLowerCase());
}

/**
 * The newest blocks that pass, oldest first.
 *
 * @param limit how many at most
 */
export async function listBlocks(
  reader: ChainReader,
  filter: BlockFilter,
  limit: number,
  signal?: AbortSignal,
): Promise<Block[]> {
  const found: Block[] = [];
  const [first, last] = range(reader, filter);
  for (let number = last; number >= first && found.length < limit; number--) {
    if (number % BLOCKS_PER_TURN === 0) await pause(signal);
    const block = reader.read(number);
    if (matches(block, filter)) found.push(block);
  }
  return found.reverse();
}

/** First and last number that a filter allows. */
export function range(reader: ChainReader, { from, to }: BlockFilter): [number, number] {
  return [Math.max(0, from ?? 0), Math.min(reader.size - 1, to ?? reader.size - 1)];
}

/**
 * Parses `5`, `5..9`, `5..`, `..9`: block numbers, both ends included.
 * @throws {InputError} `bad_range`
 */
export function parseRange(text: string): Pick<BlockFilter, "from" | "to"> {
  const match = /^(\d{1,15})?(\.\.)?(\d{1,15})?$/.exec(text);
  if (!match || text === "" || text === "..") {
    throw new InputError("bad_range", `Cannot read the range ${JSON.stringify(text)}`, {
      hint: "write it as 5..9, 5.. or ..9",
    });
  }
  const [, from, dots, to] = match;
  if (from !== undefined && to !== undefined && Number(from) > Number(to)) {
    throw new InputError("bad_range", `Cannot read the range ${text}: it ends first`, {
      hint: `write it as ${to}..${from}`,
    });
  }
  const low = from === undefined ? {} : { from: Number(from) };
  if (!dots) return { ...low, to: Number(from) };
  return { ...low, ...(to !== undefined && { to: Number(to) }) };
}

/** A block that answers a search. */
export interface Found {
  readonly block: Block;
  /** Between 0 and 1; higher is better. */
  readonly score: number;
}

/**
 * Blocks that hold the words of a query, best first, newer before older.
 *
 * @param query words, any order; the score is the share of them that a block holds
 * @param limit how many at most
 */
export async function searchText(
  reader: ChainReader,
  query: string,
  limit: number,
  filter: BlockFilter = {},
  signal?: AbortSignal,
): Promise<Found[]> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const found: Found[] = [];
  // Most blocks hold none of the words, which their bytes tell without parsing.
  const plain = words.every((word) => !/["\\\p{Cc}]/u.test(word));
  const [first, last] = range(reader, filter);
  for await (const turn of reader.turns(first, last + 1, signal)) {
    for (const [, bytes] of turn) {
      const raw = plain ? decoder.decode(bytes).toLowerCase() : "";
      if (plain && !words.some((word) => raw.includes(word))) continue;
      const block = decodeBlock(bytes);
      if (!matches(block, filter)) continue;
      const text = blockText(block).toLowerCase();
      const hits = words.filter((word) => text.includes(word)).length;
      if (hits > 0) found.push({ block, score: hits / words.length });
      if (found.length > 4 * limit + 1024) keepBest(found, limit);
    }
  }
  return keepBest(found, limit);
}

/** Sorts and cuts in place. */
function keepBest(found: Found[], limit: number): Found[] {
  found.sort((a, b) =>
    b.score - a.score || b.block.header.number - a.block.header.number
  );
  found.length = Math.min(found.length, limit);
  return found;
}

/**
 * The number of the only block whose hash begins so.
 * @throws {OpError} `no_such_block`; {InputError} `ambiguous_hash`
 */
export async function findByPrefix(
  reader: ChainReader,
  prefix: string,
  signal?: AbortSignal,
): Promise<number> {
  const found: number[] = [];
  for await (const turn of reader.turns(0, reader.size, signal)) {
    for (const [number, bytes] of turn) {
      if (parseBlock(bytes).leaf.toHex().startsWith(prefix)) found.push(number);
    }
  }
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    throw new InputError(
      "ambiguous_hash",
      `${found.length} blocks begin with ${prefix}`,
      {
        hint: "give more digits",
      },
    );
  }
  throw new OpError("no_such_block", `No block has a hash that begins with ${prefix}`, {
    hint: "op-dbus chain list shows what there is",
  });
}
