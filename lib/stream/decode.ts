/** From the bytes of one command to a typed value. */
import {
  ATTR,
  ATTR_BYTES,
  ATTR_COUNT,
  ATTR_NAMES,
  type AttributeName,
  type CommandName,
  type CommandShape,
  MAX_UNENCODED_BYTES,
} from "./format.ts";
import type { StreamCommand, StreamTime } from "./command.ts";
import { StreamError } from "./error.ts";
import { pathFault } from "./paths.ts";

const NANOSECONDS = 1_000_000_000;
const UINT32 = 2 ** 32;
/** Commands whose path may be empty: they may mean the tree's root itself. */
const ROOT_COMMANDS: ReadonlySet<CommandName> = new Set<CommandName>([
  "chmod",
  "chown",
  "utimes",
  "set_xattr",
  "remove_xattr",
  "fileattr",
]);

/** Decodes commands out of one buffer; keeps the attribute table between calls. */
export class CommandDecoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #depth: number;
  readonly #start = new Int32Array(ATTR_COUNT);
  readonly #length = new Int32Array(ATTR_COUNT);
  #at = 0;
  #shape!: CommandShape;

  /**
   * @param bytes the buffer that commands lie in
   * @param depth most components of a path
   */
  constructor(bytes: Uint8Array, depth: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#depth = depth;
  }

  /**
   * @param shape what the command must and may carry
   * @param start first byte of its attributes in the buffer
   * @param end past their last byte
   * @param version the stream's version: in 2 the data attribute has no length
   * @param at offset in the stream, for messages
   * @throws {StreamError} on anything malformed
   */
  decode(
    shape: CommandShape,
    start: number,
    end: number,
    version: number,
    at: number,
  ): StreamCommand {
    this.#at = at;
    this.#shape = shape;
    this.#table(start, end, version);
    return this.#typed(shape.name, at);
  }

  #fail(what: string): never {
    throw new StreamError("stream_corrupt", `${this.#shape.name}: ${what}`, this.#at);
  }

  /** Fills the attribute table and checks it against the command's shape. */
  #table(start: number, end: number, version: number): void {
    const { allowed, required } = this.#shape;
    let present = 0, at = start;
    while (at < end) {
      if (at + 2 > end) this.#fail("an attribute is cut short");
      const attribute = this.#view.getUint16(at, true);
      const toTheEnd = attribute === ATTR.data && version >= 2;
      at += 2;
      if (!toTheEnd && at + 2 > end) this.#fail("an attribute is cut short");
      const length = toTheEnd ? end - at : this.#view.getUint16(at, true);
      if (!toTheEnd) at += 2;
      const bit = attribute < ATTR_COUNT ? (1 << attribute) >>> 0 : 0;
      if ((allowed & bit) === 0) {
        this.#fail(`attribute ${ATTR_NAMES[attribute] ?? attribute} is out of place`);
      }
      if (present & bit) this.#fail(`attribute ${ATTR_NAMES[attribute]} is there twice`);
      if (at + length > end) this.#fail(`attribute ${ATTR_NAMES[attribute]} is too long`);
      const fixed = ATTR_BYTES[attribute];
      if (fixed !== undefined && length !== fixed) {
        this.#fail(
          `attribute ${ATTR_NAMES[attribute]} has ${length} bytes, not ${fixed}`,
        );
      }
      present |= bit;
      this.#start[attribute] = at;
      this.#length[attribute] = length;
      at += length;
    }
    const missing = required & ~present;
    if (missing !== 0) {
      this.#fail(`attribute ${ATTR_NAMES[31 - Math.clz32(missing)]} is missing`);
    }
    // Optional attributes that are absent read as zero.
    const absent = allowed & ~present;
    if (absent !== 0) {
      for (let n = 0; n < ATTR_COUNT; n++) if (absent & (1 << n)) this.#start[n] = -1;
    }
  }

  #slice(name: AttributeName): Uint8Array {
    const number = ATTR[name], start = this.#start[number]!;
    return this.#bytes.subarray(start, start + this.#length[number]!);
  }

  #path(name: AttributeName = "path"): Uint8Array {
    const path = this.#slice(name);
    if (path.length === 0 && name === "path" && ROOT_COMMANDS.has(this.#shape.name)) {
      return path;
    }
    const fault = pathFault(path, this.#depth);
    if (fault !== null) {
      throw new StreamError("stream_refused", `${this.#shape.name}: ${fault}`, this.#at);
    }
    return path;
  }

  #u32(name: AttributeName): number {
    const at = this.#start[ATTR[name]]!;
    return at < 0 ? 0 : this.#view.getUint32(at, true);
  }

  #big(name: AttributeName): bigint {
    const at = this.#start[ATTR[name]]!;
    return at < 0 ? 0n : this.#view.getBigUint64(at, true);
  }

  /** A u64 that is a size, an offset or an id: exact in a double, or refused. */
  #u64(name: AttributeName): number {
    const at = this.#start[ATTR[name]]!;
    if (at < 0) return 0;
    const high = this.#view.getUint32(at + 4, true);
    if (high >= 2 ** 21) this.#fail(`${name} is ${this.#big(name)}, beyond all bounds`);
    return high * UINT32 + this.#view.getUint32(at, true);
  }

  #time(name: AttributeName): StreamTime {
    const at = this.#start[ATTR[name]]!;
    const high = this.#view.getInt32(at + 4, true);
    const nanoseconds = this.#view.getUint32(at + 8, true);
    if (nanoseconds >= NANOSECONDS) this.#fail(`${name} has ${nanoseconds} nanoseconds`);
    if (high >= 2 ** 21 || high < -(2 ** 21)) this.#fail(`${name} is beyond all bounds`);
    return { seconds: high * UINT32 + this.#view.getUint32(at, true), nanoseconds };
  }

  #typed(type: CommandName, at: number): StreamCommand {
    switch (type) {
      case "mkfile":
      case "mkdir":
      case "unlink":
      case "rmdir":
        return { type, at, path: this.#path() };
      case "rename":
        return { type, at, path: this.#path(), pathTo: this.#path("path_to") };
      case "write": {
        const offset = this.#u64("file_offset");
        return { type, at, path: this.#path(), offset, data: this.#slice("data") };
      }
      case "truncate":
        return { type, at, path: this.#path(), size: this.#u64("size") };
      case "chmod":
        return { type, at, path: this.#path(), mode: this.#mode() };
      case "chown": {
        const uid = this.#id("uid"), gid = this.#id("gid");
        return { type, at, path: this.#path(), uid, gid };
      }
      case "utimes": {
        const atime = this.#time("atime"), mtime = this.#time("mtime");
        return { type, at, path: this.#path(), atime, mtime };
      }
      case "end":
        return { type, at };
      default:
        return this.#rare(type, at);
    }
  }

  #rare(type: CommandName, at: number): StreamCommand {
    switch (type) {
      case "symlink":
        return { type, at, path: this.#path(), target: this.#slice("path_link") };
      case "link":
        return { type, at, path: this.#path(), existing: this.#path("path_link") };
      case "mknod":
      case "mkfifo":
      case "mksock": {
        const mode = this.#mode(), rdev = this.#big("rdev");
        return { type, at, path: this.#path(), mode, rdev };
      }
      case "set_xattr": {
        const name = this.#xattrName(), value = this.#slice("xattr_data");
        return { type, at, path: this.#path(), name, value };
      }
      case "remove_xattr":
        return { type, at, path: this.#path(), name: this.#xattrName() };
      case "fallocate": {
        const offset = this.#u64("file_offset"), length = this.#u64("size");
        const mode = this.#u32("fallocate_mode");
        return { type, at, path: this.#path(), mode, offset, length };
      }
      case "fileattr":
        return { type, at, path: this.#path(), flags: this.#big("fileattr") };
      case "update_extent": {
        const offset = this.#u64("file_offset"), length = this.#u64("size");
        return { type, at, path: this.#path(), offset, length };
      }
      default:
        return this.#identified(type, at);
    }
  }

  #identified(type: CommandName, at: number): StreamCommand {
    switch (type) {
      case "subvol":
      case "snapshot": {
        const path = this.#path(), uuid = this.#slice("uuid");
        const ctransid = this.#big("ctransid");
        if (type === "subvol") return { type, at, path, uuid, ctransid };
        const cloneUuid = this.#slice("clone_uuid");
        const cloneCtransid = this.#big("clone_ctransid");
        return { type, at, path, uuid, ctransid, cloneUuid, cloneCtransid };
      }
      case "clone": {
        const length = this.#u64("clone_len");
        // The kernel takes none for "to the end of the source", which no audit counts.
        if (length === 0) this.#fail("it copies nothing");
        return {
          type,
          at,
          path: this.#path(),
          offset: this.#u64("file_offset"),
          length,
          cloneUuid: this.#slice("clone_uuid"),
          cloneCtransid: this.#big("clone_ctransid"),
          clonePath: this.#path("clone_path"),
          cloneOffset: this.#u64("clone_offset"),
        };
      }
      case "encoded_write":
        return this.#encodedWrite(at);
      default:
        return this.#fail("is no command that is read");
    }
  }

  #encodedWrite(at: number): StreamCommand {
    const unencodedFileLength = this.#u64("unencoded_file_len");
    const unencodedLength = this.#u64("unencoded_len");
    const unencodedOffset = this.#u64("unencoded_offset");
    const encryption = this.#u32("encryption");
    if (unencodedLength > MAX_UNENCODED_BYTES) {
      this.#fail(`an extent of ${unencodedLength} bytes decoded`);
    }
    // Stock receive reads beyond its buffer where this does not hold.
    if (unencodedOffset + unencodedFileLength > unencodedLength) {
      this.#fail("the part is not inside its extent");
    }
    if (encryption !== 0) this.#fail(`encryption ${encryption} is not known`);
    return {
      type: "encoded_write",
      at,
      path: this.#path(),
      offset: this.#u64("file_offset"),
      unencodedFileLength,
      unencodedLength,
      unencodedOffset,
      compression: this.#u32("compression"),
      encryption,
      data: this.#slice("data"),
    };
  }

  /** File type and permission bits: 16 bits. */
  #mode(): number {
    const mode = this.#u64("mode");
    if (mode > 0o177777) this.#fail(`mode is 0${mode.toString(8)}`);
    return mode;
  }

  /** A user or group id: 32 bits, and not the -1 that chown(2) takes for "leave it". */
  #id(name: "uid" | "gid"): number {
    const id = this.#u64(name);
    if (id >= UINT32 - 1) this.#fail(`${name} is ${id}`);
    return id;
  }

  #xattrName(): Uint8Array {
    const name = this.#slice("xattr_name");
    if (name.length === 0 || name.length > 255) {
      this.#fail(`an attribute name of ${name.length} bytes`);
    }
    if (name.includes(0)) this.#fail("a NUL byte in an attribute name");
    return name;
  }
}
