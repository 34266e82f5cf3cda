/** What several tests of the chain share. */
import { Layout } from "../../lib/base/layout.ts";
import type { BlockContent } from "../../lib/chain/block.ts";
import { Ledger, type LedgerOptions } from "../../lib/chain/ledger.ts";
import { type Scratch, tempFolder } from "../support/scratch.ts";

/** A small deterministic generator (mulberry32): whole numbers below `limit`. */
export function generator(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * limit);
  };
}

/** A block's content that tells its number. */
export function content(n: number, more: Record<string, unknown> = {}): BlockContent {
  return {
    category: "plugin",
    action: "install",
    who: "tester",
    what: `plugin-${n}@1.0.${n}`,
    data: { n, ...more },
  };
}

/** A root folder with a chain of so many blocks behind the first one. */
export async function chainOf(
  blocks: number,
  options: LedgerOptions = {},
): Promise<{ layout: Layout; scratch: Scratch }> {
  const scratch = await tempFolder("op-dbus-chain-");
  const layout = new Layout(scratch.path);
  using ledger = new Ledger(layout, options);
  await Promise.all(Array.from({ length: blocks }, (_, n) => ledger.append(content(n))));
  return { layout, scratch };
}

/** Appends so many blocks, waiting for each. */
export async function appendOneByOne(ledger: Ledger, from: number, to: number) {
  for (let n = from; n < to; n++) await ledger.append(content(n));
}
