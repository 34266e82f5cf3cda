/**
 * A send stream from a folder, in plain TypeScript: no root, no btrfs. The same folder
 * gives the same bytes: names sorted, owner root, modes normalised, times clamped, the
 * UUID taken from the tree digest.
 */
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  read,
  readlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { parseUuid } from "../../ffi/btrfs.ts";
import { InputError, OpError } from "../base/errors.ts";
import { uuidText } from "./identity.ts";
import {
  digestOfFd,
  type DiskEntry,
  readXattrs,
  type SkipEntry,
  walkDisk,
} from "./disk_tree.ts";
import { isDigestXattr } from "./digest.ts";
import { type AttributeValue, StreamEncoder, WRITE_BYTES } from "./encode.ts";
import type { AttributeName, CommandName } from "./format.ts";
import {
  binaryBytes,
  binaryString,
  compareKeys,
  displayPath,
  targetStaysInside,
} from "./paths.ts";
import type { NodeKind } from "./tree.ts";

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

/** What packing makes of a mode: 0755 for folders and programs, 0644 for other files. */
export function normalisedMode(kind: NodeKind, mode: number): number {
  if (kind === "symlink") return 0o777;
  return kind === "folder" || (mode & 0o111) !== 0 ? 0o755 : 0o644;
}

/** The digest that packing a folder gives. @throws as {@link packFolder} */
export function digestOfAuthorsFolder(path: string, skip?: SkipEntry): string {
  return withFd(
    open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    (fd) => digestOfFd(fd, { mode: normalisedMode, ...(skip && { skip }) }),
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
  readonly #path: string;
  readonly #options: PackOptions;
  readonly #epoch: number;
  readonly #pieces: Uint8Array[] = [];
  readonly #encoder = new StreamEncoder((bytes) => this.#pieces.push(bytes.slice()));
  readonly #folders: { path: Uint8Array; time: number }[] = [];
  readonly #chunk = new Uint8Array(WRITE_BYTES);
  #entries = 0;
  #contentBytes = 0;

  constructor(fd: number, path: string, options: PackOptions) {
    this.#fd = fd;
    this.#path = path;
    this.#options = options;
    this.#epoch = options.sourceDateEpoch ?? 0;
  }

  *run(name: Uint8Array): Generator<Uint8Array, PackResult> {
    const { skip, signal } = this.#options;
    const mode = normalisedMode;
    const folder = { mode, ...(skip && { skip }), ...(signal && { signal }) };
    const digest = digestOfFd(this.#fd, folder);
    const uuid = uuidText(parseUuid(digest.slice(0, UUID_HEX_DIGITS)));
    this.#put("subvol", [
      ["path", name],
      ["uuid", parseUuid(uuid)],
      ["ctransid", CTRANSID],
    ]);
    for (const entry of walkDisk(this.#fd, this.#path, skip)) {
      signal?.throwIfAborted();
      this.#entry(entry);
      yield* this.#pieces.splice(0);
      if (entry.kind === "file") yield* this.#content(entry);
    }
    // Filling a folder changed its times: they come last, the innermost first.
    for (const { path, time } of this.#folders.reverse()) this.#times(path, time);
    this.#put("end", []);
    this.#encoder.flush();
    yield* this.#pieces.splice(0);
    if (digestOfFd(this.#fd, folder) !== digest) {
      throw new OpError(
        "tree_changed",
        `Cannot pack ${this.#path}: it changed meanwhile`,
      );
    }
    const entries = this.#entries, contentBytes = this.#contentBytes;
    return { digest, uuid, entries, contentBytes };
  }

  #put(name: CommandName, attributes: [AttributeName, AttributeValue][]): void {
    this.#encoder.command(name, attributes);
  }

  #fail(entry: DiskEntry, why: string): never {
    const where = `${this.#path}/${displayPath(entry.path)}`;
    throw new InputError("not_packable", `Cannot pack ${where}: ${why}`, {
      hint: "packages hold regular files, folders and symlinks that stay inside",
    });
  }

  #entry(entry: DiskEntry): void {
    const { kind, stat } = entry, path = binaryBytes(entry.path);
    const time = Math.min(Number(stat.mtime.seconds), this.#epoch);
    this.#entries++;
    if (kind === "symlink") {
      const target = readlinkAt(entry.folderFd, entry.name);
      if (!targetStaysInside(entry.path, binaryString(target))) {
        this.#fail(entry, "the link leaves the folder");
      }
      this.#put("symlink", [["path", path], ["ino", this.#entries], [
        "path_link",
        target,
      ]]);
      this.#put("chown", [["path", path], ["uid", 0], ["gid", 0]]);
      return this.#times(path, time);
    }
    if (kind === "folder") {
      if (entry.path !== "") this.#put("mkdir", [["path", path], ["ino", this.#entries]]);
      this.#folders.push({ path, time });
    } else if (kind === "file") {
      this.#put("mkfile", [["path", path], ["ino", this.#entries]]);
    } else this.#fail(entry, `it is a ${kind}`);
    const xattrs = [...readXattrs(entry.fd, isDigestXattr) ?? []];
    for (const [name, value] of xattrs.sort(([a], [b]) => compareKeys(a, b))) {
      const named = binaryBytes(name);
      this.#put("set_xattr", [["path", path], ["xattr_name", named], [
        "xattr_data",
        value,
      ]]);
    }
    this.#put("chown", [["path", path], ["uid", 0], ["gid", 0]]);
    this.#put("chmod", [["path", path], ["mode", normalisedMode(kind, stat.mode)]]);
  }

  *#content(entry: DiskEntry): Generator<Uint8Array, void> {
    const path = binaryBytes(entry.path);
    for (let offset = 0;;) {
      const n = read(entry.fd, this.#chunk);
      if (n === 0) break;
      const data = this.#chunk.subarray(0, n);
      this.#put("write", [["path", path], ["file_offset", offset], ["data", data]]);
      offset += n;
      this.#contentBytes += n;
      if (this.#pieces.length > 0) yield* this.#pieces.splice(0);
    }
    this.#times(path, Math.min(Number(entry.stat.mtime.seconds), this.#epoch));
  }

  #times(path: Uint8Array, seconds: number): void {
    const time = { seconds, nanoseconds: 0 };
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
