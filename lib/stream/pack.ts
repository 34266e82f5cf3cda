/**
 * A send stream from a folder, in plain TypeScript: no root, no btrfs. The same folder
 * gives the same bytes: names sorted, owner root, modes normalised, times clamped, the
 * UUID taken from the tree digest.
 */
import { createHash } from "node:crypto";
import { parseUuid } from "../../ffi/btrfs.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  openBeneath,
  read,
  withFd,
} from "../../ffi/files.ts";
import { InputError, OpError } from "../base/errors.ts";
import type { SkipEntry } from "./disk_tree.ts";
import { type AttributeValue, StreamEncoder, WRITE_BYTES } from "./encode.ts";
import type { AttributeName, CommandName } from "./format.ts";
import { uuidText } from "./identity.ts";
import { type PackItem, scanFolder } from "./pack_scan.ts";
import { binaryBytes, binaryString, displayPath } from "./paths.ts";

export { normalisedMode } from "./pack_scan.ts";

/** The transaction id that written streams carry: they have no history. */
const CTRANSID = 1;
const UUID_HEX_DIGITS = 32;

/** How to write a folder as a stream. */
export interface PackOptions {
  /** Name of the subvolume, e.g. `lxc@v1.2.0`; one path component. */
  readonly name: string;
  /**
   * SOURCE_DATE_EPOCH, seconds: later times become this. Default 0, so that all times
   * are the same whatever the checkout.
   */
  readonly sourceDateEpoch?: number;
  /** What to leave out, e.g. `.git`. */
  readonly skip?: SkipEntry;
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface PackResult {
  /** Tree digest, lower-case hexadecimal. */
  readonly digest: string;
  /** UUID in the stream: the front of the digest. */
  readonly uuid: string;
  readonly entries: number;
  /** Bytes of file contents. */
  readonly contentBytes: number;
}

/** The digest that packing a folder gives. @throws as {@link packFolder} */
export function digestOfAuthorsFolder(path: string, skip?: SkipEntry): string {
  return withFd(
    open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    (fd) => scanFolder(fd, path, skip).digest,
  );
}

/**
 * Writes a folder as a send stream, version 1.
 *
 * @param path the folder; not followed where it is a link
 * @yields pieces of about 1 MiB, copies that the caller keeps
 * @returns what was written
 * @throws {InputError} on devices, sockets, links that leave the folder, a bad name
 * @throws {OpError} `tree_changed` when the folder changes meanwhile
 */
export function* packFolder(
  path: string,
  options: PackOptions,
): Generator<Uint8Array, PackResult> {
  const name = binaryString(new TextEncoder().encode(options.name));
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw new InputError("bad_name", `Cannot name a subvolume '${options.name}'`);
  }
  const fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  using packer = new Packer(fd, path, options);
  return yield* packer.run(binaryBytes(name));
}

class Packer implements Disposable {
  readonly #fd: number;
  readonly #folder: string;
  readonly #options: PackOptions;
  readonly #epoch: number;
  readonly #pieces: Uint8Array[] = [];
  readonly #encoder = new StreamEncoder((bytes) => this.#pieces.push(bytes.slice()));
  #inode = 0;
  #contentBytes = 0;

  constructor(fd: number, folder: string, options: PackOptions) {
    this.#fd = fd;
    this.#folder = folder;
    this.#options = options;
    this.#epoch = options.sourceDateEpoch ?? 0;
  }

  *run(name: Uint8Array): Generator<Uint8Array, PackResult> {
    const { skip, signal } = this.#options;
    const { items, digest } = scanFolder(this.#fd, this.#folder, skip, signal);
    const uuid = uuidText(parseUuid(digest.slice(0, UUID_HEX_DIGITS)));
    this.#put("subvol", [
      ["path", name],
      ["uuid", parseUuid(uuid)],
      ["ctransid", CTRANSID],
    ]);
    for (const item of items) {
      signal?.throwIfAborted();
      const path = binaryBytes(item.path);
      this.#make(item, path);
      if (item.kind === "file") yield* this.#content(item, path);
      // Filling a folder changes its times: a folder's come last, the innermost first.
      if (item.kind !== "folder") this.#times(item, path);
      yield* this.#pieces.splice(0);
    }
    const folders = items.filter(({ kind }) => kind === "folder").reverse();
    for (const folder of folders) this.#times(folder, binaryBytes(folder.path));
    this.#put("end", []);
    this.#encoder.flush();
    yield* this.#pieces.splice(0);
    return { digest, uuid, entries: items.length, contentBytes: this.#contentBytes };
  }

  #put(name: CommandName, attributes: [AttributeName, AttributeValue][]): void {
    this.#encoder.command(name, attributes);
  }

  #make(item: PackItem, path: Uint8Array): void {
    const at: [AttributeName, AttributeValue] = ["path", path];
    const inode: [AttributeName, AttributeValue] = ["ino", ++this.#inode];
    if (item.kind === "file") this.#put("mkfile", [at, inode]);
    else if (item.kind === "symlink") {
      this.#put("symlink", [at, inode, ["path_link", binaryBytes(item.target)]]);
    } else if (item.path !== "") this.#put("mkdir", [at, inode]);
    for (const [name, value] of item.xattrs) {
      const named = binaryBytes(name);
      this.#put("set_xattr", [at, ["xattr_name", named], ["xattr_data", value]]);
    }
    this.#put("chown", [at, ["uid", 0], ["gid", 0]]);
    if (item.kind !== "symlink") this.#put("chmod", [at, ["mode", item.mode]]);
  }

  *#content(item: PackItem, path: Uint8Array): Generator<Uint8Array, void> {
    if (item.content) {
      for (let offset = 0; offset < item.content.length; offset += WRITE_BYTES) {
        this.#write(path, offset, item.content.subarray(offset, offset + WRITE_BYTES));
      }
      return;
    }
    const fd = openBeneath(this.#fd, path, O_RDONLY | O_NONBLOCK);
    try {
      const chunk = new Uint8Array(WRITE_BYTES), hash = createHash("sha256");
      let offset = 0;
      for (let n = read(fd, chunk); n > 0; n = read(fd, chunk)) {
        const data = chunk.subarray(0, n);
        hash.update(data);
        this.#write(path, offset, data);
        offset += n;
        if (this.#pieces.length > 0) yield* this.#pieces.splice(0);
      }
      if (!hash.digest().equals(item.sha256)) {
        const where = `${this.#folder}/${displayPath(item.path)}`;
        throw new OpError("tree_changed", `Cannot pack ${where}: it changed meanwhile`);
      }
    } finally {
      close(fd);
    }
  }

  #write(path: Uint8Array, offset: number, data: Uint8Array): void {
    this.#put("write", [["path", path], ["file_offset", offset], ["data", data]]);
    this.#contentBytes += data.length;
  }

  #times(item: PackItem, path: Uint8Array): void {
    const time = { seconds: Math.min(item.seconds, this.#epoch), nanoseconds: 0 };
    this.#put("utimes", [
      ["path", path],
      ["atime", time],
      ["mtime", time],
      ["ctime", time],
    ]);
  }

  [Symbol.dispose](): void {
    // Opened by packFolder for this object alone.
    close(this.#fd);
    this.#encoder[Symbol.dispose]();
  }
}
