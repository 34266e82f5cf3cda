/** Writes one pack: records stream to a temporary file, the table is built in memory. */
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
  unlinkAt,
  writeAll,
} from "../../ffi/files.ts";
import type { ModelIdentity } from "../embed/embedder.ts";
import type { Codec } from "./codec.ts";
import { idxName, packName } from "./pack.ts";
import {
  enter,
  idxHeader,
  MAX_PACK_RECORDS,
  PACK_HEADER_BYTES,
  packHeader,
  recordBitsOf,
  recordBytesOf,
  recordCrc,
  slotsOf,
} from "./pack_format.ts";
import { KEY_BYTES } from "./key.ts";
import { type Uses, UsesBuilder, usesName } from "./pack_uses.ts";

/** Temporary files of packs begin so; only the holder of the compaction lock makes any. */
export const PACK_TEMPORARY = ".tmp-pack-";
const BUFFER_BYTES = 4 * 1024 * 1024;
const FIRST_KEYS = 4096;
const UNUSED: Uses = { hits: 0, usedMs: 0 };

/** A pack under construction. Not published until {@link publish}. */
export class PackWriter implements Disposable {
  readonly #fd: number;
  readonly #packTemporary: string;
  readonly #idxTemporary: string;
  readonly #usesTemporary: string;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #payloadBytes: number;
  readonly #recordBytes: number;
  #filled = 0;
  /** The first two words of each key: all that the table needs. */
  #keyStarts = new Uint32Array(FIRST_KEYS * 2);
  readonly #uses = new UsesBuilder();
  #count = 0;
  #fileOpen = true;
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
    writeAll(this.#fd, new Uint8Array(PACK_HEADER_BYTES));
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
    const end = at + KEY_BYTES + this.#payloadBytes;
    const buffer = this.#buffer;
    buffer.set(key, at);
    buffer.set(payload, at + KEY_BYTES);
    const crc = recordCrc(buffer.subarray(at, end));
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
    this.#count++;
  }

  #drain(): void {
    writeAll(this.#fd, this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  /**
   * Makes both files durable and gives them their names, the pack first. The caller
   * syncs the folder and announces the pack.
   *
   * @throws {RangeError} where the model's identity does not fit a pack's header
   */
  publish(): void {
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
    this.#closeFile();
    const packCrc = new DataView(header.buffer).getUint32(36, true);
    this.#writeIdx(packCrc);
    this.#writeUses();
    const { folderFd, number } = this;
    const place = (from: string, to: string) =>
      renameAt(folderFd, from, folderFd, to, RENAME_NOREPLACE);
    place(this.#packTemporary, packName(number));
    place(this.#idxTemporary, idxName(number));
    this.#published = true;
  }

  #writeIdx(packCrc: number): void {
    const slots = new Uint32Array(slotsOf(this.#count));
    const bits = recordBitsOf(this.#count);
    for (let record = 0; record < this.#count; record++) {
      enter(slots, this.#keyStarts.subarray(record * 2, record * 2 + 2), record, bits);
    }
    const fd = this.#create(this.#idxTemporary);
    try {
      writeAll(fd, idxHeader(slots, this.#count, packCrc));
      writeAll(fd, new Uint8Array(slots.buffer));
      fsync(fd, idxName(this.number));
    } finally {
      close(fd);
    }
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

  #closeFile(): void {
    if (this.#fileOpen) close(this.#fd);
    this.#fileOpen = false;
  }

  /** Removes what was not published. */
  [Symbol.dispose](): void {
    this.#closeFile();
    if (this.#published) return;
    for (const name of [this.#packTemporary, this.#idxTemporary, this.#usesTemporary]) {
      try {
        unlinkAt(this.folderFd, name);
      } catch { /* never made, or gone: the next compaction looks again */ }
    }
  }
}
