/** The tree that an incremental stream builds on: a snapshot on disk, read once. */
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  openBeneath,
  pread,
  readlinkAt,
} from "../../ffi/files.ts";
import { ContentPool, FileContent } from "./content.ts";
import { type DiskEntry, hashFile, readXattrs, walkDisk } from "./disk_tree.ts";
import { digestOfTree } from "./digest.ts";
import { binaryBytes, binaryString } from "./paths.ts";
import { newNode, type TreeNode, VirtualTree } from "./tree.ts";

/** A snapshot's tree, its contents' hashes, and a way to read them. */
export class BaseTree implements Disposable {
  /** The tree as it lies on disk; never changed. */
  readonly tree: VirtualTree;
  /** Its tree digest, from what was read. */
  readonly digest: string;
  /** The snapshot's folder, open until disposed. */
  readonly fd: number;
  readonly #files: readonly string[];

  private constructor(fd: number, tree: VirtualTree, files: readonly string[]) {
    this.fd = fd;
    this.tree = tree;
    this.#files = files;
    this.digest = digestOfTree(tree);
  }

  /**
   * Reads a snapshot, content and all.
   *
   * @param path its folder; a link in the last component is refused
   * @throws {SysError} what open or read gave
   */
  static read(path: string): BaseTree {
    const fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const tree = new VirtualTree(), files: string[] = [];
      const pool = new ContentPool(true), byInode = new Map<bigint, TreeNode>();
      for (const entry of walkDisk(fd, path)) {
        const known = entry.kind === "folder" ? undefined : byInode.get(entry.stat.ino);
        if (known) {
          tree.add(entry.path, known);
          known.links++;
          continue;
        }
        const node = entry.path === "" ? tree.root : nodeOf(entry, pool, files);
        node.mode = entry.stat.mode & 0o7777;
        node.uid = entry.stat.uid;
        node.gid = entry.stat.gid;
        if (entry.fd >= 0) node.xattrs = readXattrs(entry.fd, isStreamed);
        if (entry.path !== "") tree.add(entry.path, node);
        if (entry.stat.nlink > 1) byInode.set(entry.stat.ino, node);
      }
      return new BaseTree(fd, tree, files);
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  /** Puts a copy of the tree under an empty one's root. */
  plant(into: VirtualTree, pool: ContentPool): void {
    const copies = new Map<TreeNode, TreeNode>();
    const adopt = (from: TreeNode, to: TreeNode) => {
      to.mode = from.mode;
      to.uid = from.uid;
      to.gid = from.gid;
      to.xattrs = from.xattrs && new Map(from.xattrs);
    };
    adopt(this.tree.root, into.root);
    for (const { path, node } of this.tree.walk()) {
      const known = copies.get(node);
      if (known) {
        into.add(path, known);
        known.links++;
        continue;
      }
      const copy = newNode(node.kind, {
        target: node.target,
        rdev: node.rdev,
        ...(node.content && { content: node.content.copy(pool) }),
      });
      adopt(node, copy);
      into.add(path, copy);
      if (node.links > 1) copies.set(node, copy);
    }
  }

  /** Reads from the n-th file of the tree. */
  readFile(index: number, into: Uint8Array, offset: number): number {
    const path = this.#files[index];
    if (path === undefined) throw new RangeError(`no file ${index} in the base tree`);
    const fd = openBeneath(this.fd, binaryBytes(path), O_RDONLY);
    try {
      return pread(fd, into, offset);
    } finally {
      close(fd);
    }
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

/** A node as it lies on disk; a file's path goes to the end of `files`. */
function nodeOf(entry: DiskEntry, pool: ContentPool, files: string[]): TreeNode {
  const { kind, stat } = entry;
  if (kind === "symlink") {
    const target = binaryString(readlinkAt(entry.folderFd, entry.name));
    return newNode(kind, { target });
  }
  if (kind !== "file") return newNode(kind, { rdev: stat.rdev });
  const { sha256, sizeBytes } = hashFile(entry.fd, stat.sizeBytes);
  const content = FileContent.ofBase(pool, files.length, sizeBytes, sha256);
  files.push(entry.path);
  return newNode(kind, { content });
}

/** Attributes that a stream may set or remove; the rest the system gives by itself. */
function isStreamed(name: string): boolean {
  return name !== "security.selinux";
}
