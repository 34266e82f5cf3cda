/**
 * Writes one pack: records and keys stream to temporary files, the slots are built in
 * memory.
 */
import {
  close,
  fsync,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  openAt,
  pwriteAll,
  RENAME_NOREPLACE,
  renameAt,
  startWriteback,
  unlinkAt,
  writeAll,
} from "../../ffi/files.ts";
import type { Steps } from "../base/slices.ts";
import type { ModelIdentity } from "../embed/embedder.ts";
import type { Codec } from "./codec.ts";
import { idxName, packName } from "./pack.ts";
import {
  enter,
  IDX_HEADER_BYTES,
  idxHeader,
  KEY_START_BYTES,
  MAX_PACK_RECORDS,
  PACK_HEADER_BYTES,
  packHeader,
  recordBitsOf,
  recordBytesOf,
  recordCrc,
  slotsOf,
  tableCrc,
} from "./pack_format.ts";
import { KEY_BYTES } from "./key.ts";
import { type Uses, UsesBuilder, usesName } from "./pack_uses.ts";

/** Temporary files of packs begin so; only the holder of the compaction lock makes any. */
export const PACK_TEMPORARY = ".tmp-pack-";
const BUFFER_BYTES = 4 * 1024 * 1024;
const KEY_BUFFER_BYTES = KEY_BYTES * 8192;
const FIRST_KEYS = 4096;
/** Records that are entered into the table in one step. */
const STEP_RECORDS = 16_384;
const UNUSED: Uses = { hits: 0, usedMs: 0 };

/** A pack under construction. Not published until {@link publish}. */
export class PackWriter implements Disposable {
  readonly #fd: number;
  readonly #idxFd: number;
  readonly #packTemporary: string;
  readonly #idxTemporary: string;
  readonly #usesTemporary: string;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #payloadBytes: number;
  readonly #recordBytes: number;
  #filled = 0;
  readonly #keys = new Uint8Array(KEY_BUFFER_BYTES);
  #keysFilled = 0;
  #keysCrc = 0;
  /** The first two words of each key: all that the table needs. */
  #keyStarts = new Uint32Array(FIRST_KEYS * 2);
  readonly #uses = new UsesBuilder();
  #count = 0;
  #filesOpen = true;
  #published = false;

  /**
   * @param folderFd the folder of vectors
   * @param number of the pack; no such pack exists
   */
  constructor(
    private readonly folderFd: number,
    readonly number: number,
    private readonly codec: Codec,
    private readonly dimensions: number,
    private readonly identity: ModelIdentity,
  ) {
    this.#payloadBytes = codec.maxBytes(dimensions);
    this.#recordBytes = recordBytesOf(this.#payloadBytes);
    this.#buffer = new Uint8Array(Math.max(BUFFER_BYTES, this.#recordBytes));
    this.#packTemporary = `${PACK_TEMPORARY}${packName(number)}`;
    this.#idxTemporary = `${PACK_TEMPORARY}${idxName(number)}`;
    this.#usesTemporary = `${PACK_TEMPORARY}${usesName(number)}`;
    this.#fd = this.#create(this.#packTemporary);
    this.#idxFd = this.#create(this.#idxTemporary);
    writeAll(this.#fd, new Uint8Array(PACK_HEADER_BYTES));
    writeAll(this.#idxFd, new Uint8Array(IDX_HEADER_BYTES));
  }

  #create(name: string): number {
    return openAt(this.folderFd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === MAX_PACK_RECORDS;
  }

  /** Adds a record. @param payload of exactly the codec's size */
  add(key: Uint8Array, payload: Uint8Array, uses: Uses = UNUSED): void {
    if (payload.length !== this.#payloadBytes) {
      throw new RangeError(`${payload.length} bytes, not ${this.#payloadBytes}`);
    }
    if (this.#filled + this.#recordBytes > this.#buffer.length) this.#drain();
    const at = this.#filled;
    const end = at + KEY_START_BYTES + this.#payloadBytes;
    const buffer = this.#buffer;
    for (let i = 0; i < KEY_START_BYTES; i++) buffer[at + i] = key[i]!;
    buffer.set(payload, at + KEY_START_BYTES);
    const second = key[4]! | key[5]! << 8 | key[6]! << 16 | key[7]! << 24;
    const crc = recordCrc(buffer.subarray(at, end), second >>> 0);
    for (let i = 0; i < 4; i++) buffer[end + i] = crc >>> (8 * i);
    buffer.fill(0, end + 4, at + this.#recordBytes);
    this.#filled += this.#recordBytes;
    this.#noteKey(key);
    this.#uses.add(uses);
  }

  #noteKey(key: Uint8Array): void {
    if (this.#count * 2 === this.#keyStarts.length) {
      const more = new Uint32Array(this.#keyStarts.length * 2);
      more.set(this.#keyStarts);
      this.#keyStarts = more;
    }
    for (let word = 0; word < 2; word++) {
      const i = word * 4;
      this.#keyStarts[this.#count * 2 + word] = key[i]! | key[i + 1]! << 8 |
        key[i + 2]! << 16 | key[i + 3]! << 24;
    }
    this.#keys.set(key, this.#keysFilled);
    this.#keysFilled += KEY_BYTES;
    if (this.#keysFilled === this.#keys.length) this.#drainKeys();
    this.#count++;
  }

  #drainKeys(): void {
    const keys = this.#keys.subarray(0, this.#keysFilled);
    this.#keysCrc = tableCrc(keys, this.#keysCrc);
    writeAll(this.#idxFd, keys);
    this.#keysFilled = 0;
  }

  #drain(): void {
    writeAll(this.#fd, this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
    startWriteback(this.#fd); // while more is gathered; publishing then waits for little
  }

  /**
   * Makes both files durable and gives them their names, the pack first. The caller
   * syncs the folder and announces the pack.
   *
   * @throws {RangeError} where the model's identity does not fit a pack's header
   */
  *publish(): Steps<void> {
    const { codec, dimensions, identity } = this;
    const header = packHeader(
      codec,
      dimensions,
      this.#payloadBytes,
      this.#count,
      identity,
    );
    if (!header) throw new RangeError(`The identity of ${identity.name} is too long`);
    this.#drain();
    pwriteAll(this.#fd, header, 0);
    fsync(this.#fd, packName(this.number));
    const view = new DataView(header.buffer);
    yield* this.#writeIdx(view.getUint32(8, true), view.getUint32(36, true));
    this.#closeFiles();
    this.#writeUses();
    const { folderFd, number } = this;
    const place = (from: string, to: string) =>
      renameAt(folderFd, from, folderFd, to, RENAME_NOREPLACE);
    place(this.#packTemporary, packName(number));
    place(this.#idxTemporary, idxName(number));
    this.#published = true;
  }

  *#writeIdx(version: number, crc: number): Steps<void> {
    const count = this.#count, bits = recordBitsOf(count);
    const slots = new Uint32Array(slotsOf(count));
    for (let record = 0; record < count; record++) {
      if (record % STEP_RECORDS === 0) yield;
      enter(slots, this.#keyStarts.subarray(record * 2, record * 2 + 2), record, bits);
    }
    this.#drainKeys();
    const table = new Uint8Array(slots.buffer);
    writeAll(this.#idxFd, table);
    const contentCrc = tableCrc(table, this.#keysCrc);
    const header = idxHeader({ version, codec: this.codec, count, crc }, contentCrc);
    pwriteAll(this.#idxFd, header, 0);
    fsync(this.#idxFd, idxName(this.number));
  }

  /** Hints only, so not synced; its name comes before the pack's, as all but that do. */
  #writeUses(): void {
    const fd = this.#create(this.#usesTemporary);
    try {
      writeAll(fd, this.#uses.bytes());
    } finally {
      close(fd);
    }
    renameAt(this.folderFd, this.#usesTemporary, this.folderFd, usesName(this.number));
  }

  #closeFiles(): void {
    if (!this.#filesOpen) return;
    this.#filesOpen = false;
    close(this.#fd);
    close(this.#idxFd);
  }

  /** Removes what was not published. */
  [Symbol.dispose](): void {
    this.#closeFiles();
    if (this.#published) return;
    for (const name of [this.#packTemporary, this.#idxTemporary, this.#usesTemporary]) {
      try {
        unlinkAt(this.folderFd, name);
      } catch { /* never made, or gone: the next compaction looks again */ }
    }
  }
}
