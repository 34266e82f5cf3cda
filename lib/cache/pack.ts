/** One pack, opened for reading: both its files mapped once. */
import { close, O_NOFOLLOW, O_RDONLY, pread, withFd } from "../../ffi/files.ts";
import { MADV_RANDOM, MADV_WILLNEED, Mapping, PAGE_BYTES } from "../../ffi/memory.ts";
import { ELOOP, openIfThere } from "../../ffi/open_if_there.ts";
import { fstat } from "../../ffi/stat.ts";
import { KEY_BYTES } from "./key.ts";
import { PackUses } from "./pack_uses.ts";
import { isRecordSound, type KeysOf, rebuildIdx } from "./pack_repair.ts";
import {
  homeSlot,
  IDX_HEADER_BYTES,
  type IdxHeader,
  PACK_HEADER_BYTES,
  type PackHeader,
  parseIdxHeader,
  parsePackHeader,
  tableCrc,
} from "./pack_format.ts";

/** A pack's file names. */
export function packName(number: number): string {
  return `pack-${number}.pack`;
}
export function idxName(number: number): string {
  return `pack-${number}.idx`;
}
/** A bitmap of deleted records, replaced as a whole; absent while there are none. */
export function deletedName(number: number): string {
  return `pack-${number}.del`;
}

/** Tables up to this size are read ahead when opened: a lookup then costs one read. */
const READ_AHEAD_LIMIT_BYTES = 64 * 1024 * 1024;
const KEY_WORDS = KEY_BYTES / 4;

/** An open pack. The mappings live until nothing refers to them any more. */
export class Pack {
  /** Null until it is worth it; see {@link Mapping.buffer}. */
  #bytes: Uint8Array | null = null;
  #reads = 0;
  readonly #slots: Uint32Array;
  readonly #bits: number;
  /** Where the keys are: in the idx; in the records of version 1. */
  readonly #keys: Uint32Array;
  readonly #keysAt: number;
  readonly #keyStride: number;
  /** Uses of the records since the last flush. */
  readonly uses: PackUses;
  #deleted: Uint8Array | null = null;
  #lookups = 0;

  private constructor(
    readonly number: number,
    readonly header: PackHeader,
    readonly mapping: Mapping,
    readonly idxMapping: Mapping,
    private readonly idx: IdxHeader,
  ) {
    this.#slots = new Uint32Array(idxMapping.buffer, idx.slotsAt);
    this.#bits = idx.recordBits;
    const isOld = header.version === 1;
    this.#keys = new Uint32Array((isOld ? mapping : idxMapping).buffer);
    this.#keysAt = (isOld ? PACK_HEADER_BYTES : IDX_HEADER_BYTES) / 4;
    this.#keyStride = isOld ? header.recordBytes / 4 : KEY_WORDS;
    this.uses = new PackUses(header.count);
  }

  /**
   * Opens a pack.
   *
   * @param folderFd the folder of vectors
   * @returns null where a file is missing or its header is wrong in any way
   */
  static open(folderFd: number, number: number): Pack | null {
    const pack = mapChecked(
      folderFd,
      packName(number),
      PACK_HEADER_BYTES,
      parsePackHeader,
    );
    if (!pack) return null;
    const idx = mapChecked(folderFd, idxName(number), IDX_HEADER_BYTES, parseIdxHeader);
    const { header } = pack;
    if (!idx || !belong(header, idx.header)) return null;
    pack.mapping.advise(MADV_RANDOM);
    const opened = new Pack(number, header, pack.mapping, idx.mapping, idx.header);
    opened.readDeleted(folderFd);
    return opened;
  }

  /**
   * The idx file of a pack whose own one cannot be used; null where the pack cannot be, or
   * no record's key is known.
   */
  static tableOf(folderFd: number, number: number, keysOf: KeysOf): Uint8Array | null {
    const pack = mapChecked(
      folderFd,
      packName(number),
      PACK_HEADER_BYTES,
      parsePackHeader,
    );
    return pack && rebuildIdx(new Uint8Array(pack.mapping.buffer), pack.header, keysOf);
  }

  /** This pack's idx file as it ought to be. */
  newTable(keysOf: KeysOf): Uint8Array | null {
    return rebuildIdx(
      this.bytes,
      this.header,
      keysOf,
      (record) => this.isSound(record) ? this.key(record) : null,
    );
  }

  get count(): number {
    return this.header.count;
  }

  /** The pack's bytes, for scans. */
  get bytes(): Uint8Array {
    return this.#bytes ??= new Uint8Array(this.mapping.buffer);
  }

  /**
   * The number of a key's record, or -1. The record is not checked yet.
   *
   * @param key the key as eight words
   */
  find(key: Uint32Array): number {
    // Not for one lookup alone: asking for a million keys takes longer than that.
    if (this.#lookups < 2 && ++this.#lookups === 2) {
      readTableAhead(this.idxMapping, this.idx.slotsAt);
    }
    const slots = this.#slots, bits = this.#bits;
    const wanted = key[1]! >>> bits;
    const mask = (1 << bits) - 1;
    let at = homeSlot(key[0]!, slots.length);
    for (let probes = slots.length; probes > 0; probes--) {
      const slot = slots[at]!;
      if (slot === 0) return -1;
      if (slot >>> bits === wanted) {
        const record = (slot & mask) - 1;
        if (record >= 0 && record < this.count && this.#matches(record, key)) {
          return this.isDeleted(record) ? -1 : record;
        }
      }
      if (++at === slots.length) at = 0;
    }
    return -1;
  }

  /**
   * The record a key most probably has, by its slot alone: reads no record, so it never
   * waits for the disk. -1 where the key is not here.
   */
  candidate(key: Uint32Array): number {
    const slots = this.#slots, bits = this.#bits;
    const wanted = key[1]! >>> bits;
    let at = homeSlot(key[0]!, slots.length);
    for (let probes = slots.length; probes > 0; probes--) {
      const slot = slots[at]!;
      if (slot === 0) return -1;
      if (slot >>> bits === wanted) {
        const record = (slot & (1 << bits) - 1) - 1;
        return record < this.count ? record : -1;
      }
      if (++at === slots.length) at = 0;
    }
    return -1;
  }

  #matches(record: number, key: Uint32Array): boolean {
    const keys = this.#keys, at = this.#keysAt + record * this.#keyStride;
    for (let i = 0; i < KEY_WORDS; i++) if (keys[at + i] !== key[i]) return false;
    return true;
  }

  /** Where a record begins in {@link bytes}. */
  offset(record: number): number {
    return PACK_HEADER_BYTES + record * this.header.recordBytes;
  }

  /** True where a record's checksum is right, for the key that the table says it has. */
  isSound(record: number): boolean {
    return this.#isSoundIn(this.bytes, this.offset(record), record);
  }

  #isSoundIn(bytes: Uint8Array, at: number, record: number): boolean {
    const key = this.#keysAt + record * this.#keyStride;
    const first = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 |
      bytes[at + 3]! << 24;
    return first >>> 0 === this.#keys[key] &&
      isRecordSound(bytes, at, this.header, this.#keys[key + 1]!);
  }

  /** Decodes a record after checking it; false where it is damaged. */
  read(record: number, into: Float32Array, at: number): boolean {
    const { codec, dimensions, keyBytes, payloadBytes, recordBytes } = this.header;
    let bytes = this.#bytes, begin = this.offset(record);
    if (bytes === null) {
      if (this.#reads++ === 0) {
        bytes = new Uint8Array(this.mapping.window(begin, recordBytes));
        begin = 0;
      } else bytes = this.bytes;
    }
    if (!this.#isSoundIn(bytes, begin, record)) return false;
    begin += keyBytes;
    const payload = bytes.subarray(begin, begin + payloadBytes);
    return codec.decode(payload, dimensions, into, at);
  }

  /** A record's key, a view. */
  key(record: number): Uint8Array {
    const keys = this.#keys;
    const at = keys.byteOffset + (this.#keysAt + record * this.#keyStride) * 4;
    return new Uint8Array(keys.buffer, at, KEY_BYTES);
  }

  /** A record's payload, a view. */
  payload(record: number): Uint8Array {
    const at = this.offset(record) + this.header.keyBytes;
    return this.bytes.subarray(at, at + this.header.payloadBytes);
  }

  isDeleted(record: number): boolean {
    const deleted = this.#deleted;
    return deleted !== null && (deleted[record >> 3]! & 1 << (record & 7)) !== 0;
  }

  /** How many records are deleted. */
  deletedCount(): number {
    let count = 0;
    for (let record = 0; this.#deleted && record < this.count; record++) {
      if (this.isDeleted(record)) count++;
    }
    return count;
  }

  /** The bitmap with more records deleted, to be written by the caller. */
  withDeleted(records: Iterable<number>): Uint8Array {
    const bitmap = this.#deleted?.slice() ?? new Uint8Array(Math.ceil(this.count / 8));
    for (const record of records) bitmap[record >> 3]! |= 1 << (record & 7);
    return bitmap;
  }

  /** Reads the bitmap of deleted records again; one of the wrong size counts as none. */
  readDeleted(folderFd: number): void {
    this.#deleted = readBitmap(
      folderFd,
      deletedName(this.number),
      Math.ceil(this.count / 8),
    );
  }

  /** True where the keys and slots are as they were written. Reads all of them. */
  isTableSound(): boolean {
    const content = new Uint8Array(this.idxMapping.buffer, IDX_HEADER_BYTES);
    return tableCrc(content) === this.idx.tableCrc;
  }
}

/** Asks for keys and slots, or, where those are too many, for the slots alone. */
function readTableAhead(idx: Mapping, slotsAt: number): void {
  const isSmall = idx.length <= READ_AHEAD_LIMIT_BYTES;
  const from = isSmall ? 0 : slotsAt - slotsAt % PAGE_BYTES;
  if (idx.length - from <= READ_AHEAD_LIMIT_BYTES) idx.advise(MADV_WILLNEED, from);
}

/** True where an idx was written for this pack. */
function belong(pack: PackHeader, idx: IdxHeader): boolean {
  return idx.packCrc === pack.crc && idx.count === pack.count &&
    idx.version === pack.version;
}

function mapChecked<H>(
  folderFd: number,
  name: string,
  headerBytes: number,
  parse: (bytes: Uint8Array, sizeBytes: number) => H | null,
): { header: H; mapping: Mapping } | null {
  const fd = openIfThere(folderFd, name, O_RDONLY | O_NOFOLLOW, ELOOP);
  if (fd === null) return null;
  return withFd(fd, () => {
    const { sizeBytes } = fstat(fd, name);
    const bytes = new Uint8Array(headerBytes);
    // Sizes are checked against the header before anything is mapped: reading past the
    // end of a mapped file kills the process.
    if (pread(fd, bytes, 0) !== headerBytes) return null;
    const header = parse(bytes, sizeBytes);
    return header && { header, mapping: Mapping.ofFile(fd, sizeBytes) };
  });
}

function readBitmap(
  folderFd: number,
  name: string,
  sizeBytes: number,
): Uint8Array | null {
  const fd = openIfThere(folderFd, name, O_RDONLY | O_NOFOLLOW, ELOOP);
  if (fd === null) return null;
  try {
    const bitmap = new Uint8Array(sizeBytes);
    const right = fstat(fd, name).sizeBytes === sizeBytes &&
      pread(fd, bitmap, 0) === sizeBytes;
    return right ? bitmap : null;
  } finally {
    close(fd);
  }
}
