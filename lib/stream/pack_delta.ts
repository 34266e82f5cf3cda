/**
 * An incremental stream from a folder, in plain TypeScript: what leads from a base, known
 * by its package alone, to the folder as it is now. Like packFolder: no root, no btrfs, the
 * same bytes every time; and the result has the UUID that the full package would have.
 *
 * Whole files: one whose content differs is written anew.
 */
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  pread,
  readlinkAt,
} from "../../ffi/files.ts";
import { parseUuid } from "../../ffi/btrfs.ts";
import { OpError } from "../base/errors.ts";
import {
  digestOfFd,
  type DiskEntry,
  hashFile,
  readXattrs,
  walkDisk,
} from "./disk_tree.ts";
import { isDigestXattr } from "./digest.ts";
import { type AttributeValue, StreamEncoder, WRITE_BYTES } from "./encode.ts";
import type { AttributeName, CommandName } from "./format.ts";
import type { StreamIdentity } from "./identity.ts";
import { normalisedMode, type PackOptions } from "./pack.ts";
import { binaryBytes, binaryString, compareKeys } from "./paths.ts";
import type { TreeNode, VirtualTree } from "./tree.ts";

/** Written streams carry no history (pack.ts has the same). */
const CTRANSID = 1;

/** What the stream builds on. */
export interface DeltaBase {
  /** From the audit of the base's package, contents resolved. */
  readonly tree: VirtualTree;
  readonly identity: StreamIdentity;
}

type Attributes = [AttributeName, AttributeValue][];

/**
 * Writes the difference between a base and a folder as a send stream, version 1.
 *
 * @param path the folder, which {@link packFolder} would take
 * @param base the version that the receiver has
 * @yields pieces of about 1 MiB
 * @returns tree digest of the folder
 * @throws {OpError} `tree_changed` when the folder changes meanwhile
 */
export function* packDelta(
  path: string,
  base: DeltaBase,
  options: PackOptions,
): Generator<Uint8Array, { digest: string }> {
  const fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    return yield* new DeltaPacker(fd, path, base, options).run();
  } finally {
    close(fd);
  }
}

class DeltaPacker {
  readonly #pieces: Uint8Array[] = [];
  readonly #encoder = new StreamEncoder((bytes) => this.#pieces.push(bytes.slice()));
  readonly #folders: { path: Uint8Array; time: number }[] = [];
  readonly #chunk = new Uint8Array(WRITE_BYTES);
  #inode = 0;

  constructor(
    readonly fd: number,
    readonly path: string,
    readonly base: DeltaBase,
    readonly options: PackOptions,
  ) {}

  *run(): Generator<Uint8Array, { digest: string }> {
    const { skip, signal, name } = this.options;
    const reading = { mode: normalisedMode, ...(skip && { skip }) };
    const digest = digestOfFd(this.fd, reading);
    const { uuid, ctransid } = this.base.identity;
    this.#put("snapshot", [
      ["path", new TextEncoder().encode(name)],
      ["uuid", Uint8Array.fromHex(digest.slice(0, 32))],
      ["ctransid", CTRANSID],
      ["clone_uuid", parseUuid(uuid)],
      ["clone_ctransid", ctransid],
    ]);
    const kept = this.#removeOld();
    for (const entry of walkDisk(this.fd, this.path, skip)) {
      signal?.throwIfAborted();
      yield* this.#entry(entry, kept.get(entry.path) ?? null);
      yield* this.#pieces.splice(0);
    }
    for (const { path, time } of this.#folders.reverse()) this.#times(path, time);
    this.#put("end", []);
    this.#encoder.flush();
    yield* this.#pieces.splice(0);
    if (digestOfFd(this.fd, reading) === digest) return { digest };
    throw new OpError("tree_changed", `Cannot pack ${this.path}: it changed meanwhile`);
  }

  #put(name: CommandName, attributes: Attributes): void {
    this.#encoder.command(name, attributes);
  }

  /** Removes what is gone or of another kind; returns what stays of the base. */
  #removeOld(): Map<string, TreeNode> {
    const now = new Map<string, string>();
    for (const entry of walkDisk(this.fd, this.path, this.options.skip)) {
      now.set(entry.path, shape(entry));
    }
    const kept = new Map([["", this.base.tree.root]]);
    const old = [...this.base.tree.walk()];
    for (const { path, node } of old.reverse()) {
      // What is in a folder comes before the folder itself here.
      const same = now.get(path) === nodeShape(node) && !isTangled(node);
      if (same) kept.set(path, node);
      else this.#put(node.children ? "rmdir" : "unlink", [["path", binaryBytes(path)]]);
    }
    return kept;
  }

  *#entry(entry: DiskEntry, old: TreeNode | null): Generator<Uint8Array> {
    const path = binaryBytes(entry.path), { kind, stat } = entry;
    const time = Math.min(Number(stat.mtime.seconds), this.options.sourceDateEpoch ?? 0);
    this.#inode++;
    if (kind === "symlink") {
      if (old) return;
      const target = readlinkAt(entry.folderFd, entry.name);
      this.#put("symlink", [["path", path], ["ino", this.#inode], ["path_link", target]]);
      this.#put("chown", [["path", path], ["uid", 0], ["gid", 0]]);
      return this.#times(path, time);
    }
    if (kind === "folder") this.#folders.push({ path, time });
    if (!old) {
      this.#put(kind === "folder" ? "mkdir" : "mkfile", [["path", path], [
        "ino",
        this.#inode,
      ]]);
      this.#put("chown", [["path", path], ["uid", 0], ["gid", 0]]);
    }
    this.#xattrs(path, entry, old);
    const mode = normalisedMode(kind, stat.mode);
    if (!old || (old.mode & 0o7777) !== mode) {
      this.#put("chmod", [["path", path], ["mode", mode]]);
    }
    if (kind === "file") yield* this.#content(path, entry, old, time);
  }

  #xattrs(path: Uint8Array, entry: DiskEntry, old: TreeNode | null): void {
    const wanted = readXattrs(entry.fd, isDigestXattr) ?? new Map<string, Uint8Array>();
    const before = old?.xattrs ?? new Map<string, Uint8Array>();
    for (const name of [...before.keys()].filter(isDigestXattr).sort(compareKeys)) {
      if (wanted.has(name)) continue;
      this.#put("remove_xattr", [["path", path], ["xattr_name", binaryBytes(name)]]);
    }
    for (const name of [...wanted.keys()].sort(compareKeys)) {
      const value = wanted.get(name)!, was = before.get(name);
      if (was && binaryString(was) === binaryString(value)) continue;
      this.#put("set_xattr", [
        ["path", path],
        ["xattr_name", binaryBytes(name)],
        ["xattr_data", value],
      ]);
    }
  }

  *#content(
    path: Uint8Array,
    entry: DiskEntry,
    old: TreeNode | null,
    time: number,
  ): Generator<Uint8Array> {
    if (old) {
      const was = old.content!.sha256();
      if (
        was && was.toHex() === hashFile(entry.fd, entry.stat.sizeBytes).sha256.toHex()
      ) {
        return;
      }
      this.#put("truncate", [["path", path], ["size", 0]]);
    }
    yield* this.#write(path, entry.fd);
    this.#times(path, time);
  }

  *#write(path: Uint8Array, fd: number): Generator<Uint8Array> {
    for (let offset = 0;;) {
      // By offset: comparing may have read the file to its end already.
      const n = pread(fd, this.#chunk, offset);
      if (n === 0) return;
      const data = this.#chunk.subarray(0, n);
      this.#put("write", [["path", path], ["file_offset", offset], ["data", data]]);
      offset += n;
      if (this.#pieces.length > 0) yield* this.#pieces.splice(0);
    }
  }

  #times(path: Uint8Array, seconds: number): void {
    const time = { seconds, nanoseconds: 0 };
    this.#put("utimes", [["path", path], ["atime", time], ["mtime", time], [
      "ctime",
      time,
    ]]);
  }
}

/** Kind, and a link's target: what an entry cannot change into in place. */
function shape(entry: DiskEntry): string {
  return entry.kind === "symlink"
    ? `symlink ${binaryString(readlinkAt(entry.folderFd, entry.name))}`
    : entry.kind;
}

function nodeShape(node: TreeNode): string {
  return node.kind === "symlink" ? `symlink ${node.target}` : node.kind;
}

/** A hard link: a change of one name would be a change of the other. */
function isTangled(node: TreeNode): boolean {
  return node.links > 1;
}
