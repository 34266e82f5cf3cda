/** The numbers that a service shows of its cache, cheap enough to be asked for often. */
import { statfs } from "../../ffi/stat.ts";
import { HEADER_BYTES } from "./object.ts";
import { type PackShare, share } from "./stats.ts";
import type { Store } from "./store.ts";

/** What there is now. Counting the index's rows would take a second per million. */
export interface LiveStats {
  /** Vectors on the disk. */
  readonly entries: number;
  /** Their bytes; those of many loose ones by the mean of some. */
  readonly vectorBytes: number;
  readonly looseFiles: number;
  readonly packs: readonly PackShare[];
  readonly availableBytes: number;
}

/** Loose files whose size is asked for. */
const SAMPLE_FILES = 256;

/** Collects them. */
export function liveStats(store: Store): LiveStats {
  const { packs, loose } = store;
  packs.refresh();
  const keys = loose.keys();
  let bytes = 0, counted = 0;
  for (const key of keys.slice(0, SAMPLE_FILES)) {
    const stat = loose.stat(key);
    if (!stat) continue; // in a pack by now
    bytes += stat.sizeBytes - HEADER_BYTES;
    counted++;
  }
  let entries = keys.length;
  let vectorBytes = counted === 0 ? 0 : Math.round(bytes / counted * keys.length);
  const shares = packs.all().map(share);
  for (const [at, pack] of packs.all().entries()) {
    const live = pack.count - shares[at]!.deleted;
    entries += live;
    vectorBytes += live * pack.header.payloadBytes;
  }
  const { availableBytes } = statfs(loose.path);
  return { entries, vectorBytes, looseFiles: keys.length, packs: shares, availableBytes };
}
