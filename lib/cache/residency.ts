/** Which parts of a mapped file are in memory, and bringing parts there. */
import { MADV_WILLNEED, type Mapping, PAGE_BYTES } from "../../ffi/memory.ts";

/** Pages with smaller gaps between them are fetched together. */
const JOIN_GAP_BYTES = 64 * 1024;
/** A mapping counts as resident from this share on. */
const RESIDENT_SHARE = 0.98;

/** Bytes of a mapping that are in memory, by mincore(2). */
export function residentBytes(mapping: Mapping): number {
  let pages = 0;
  for (const page of mapping.residency()) pages += page & 1;
  return Math.min(pages * PAGE_BYTES, mapping.length);
}

/** True where nearly all of a mapping is in memory. */
export function isResident(mapping: Mapping): boolean {
  return residentBytes(mapping) >= mapping.length * RESIDENT_SHARE;
}

/**
 * Has the kernel fetch records that are not in memory, in the order of the file and
 * neighbours together. Does not wait.
 *
 * @param offsets where the records begin, in any order; sorted in place
 * @param recordBytes their size
 * @returns bytes asked for
 */
export function readAhead(
  mapping: Mapping,
  offsets: number[],
  recordBytes: number,
): number {
  const resident = mapping.residency();
  offsets.sort((a, b) => a - b);
  let asked = 0, from = -1, to = -1;
  const flush = () => {
    if (from < 0) return;
    const length = Math.min(to, mapping.length) - from;
    mapping.advise(MADV_WILLNEED, from, length);
    asked += length;
  };
  for (const offset of offsets) {
    const first = Math.floor(offset / PAGE_BYTES);
    const last = Math.floor((offset + recordBytes - 1) / PAGE_BYTES);
    if ((resident[first]! & 1) && (resident[last]! & 1)) continue;
    if (from >= 0 && first * PAGE_BYTES - to <= JOIN_GAP_BYTES) {
      to = (last + 1) * PAGE_BYTES;
      continue;
    }
    flush();
    from = first * PAGE_BYTES;
    to = (last + 1) * PAGE_BYTES;
  }
  flush();
  return asked;
}
