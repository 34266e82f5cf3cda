/** A tree of files in memory: what a stream builds, or what lies on disk. */
import type { FileContent } from "./content.ts";
import { compareKeys, nameKey, parentKey } from "./paths.ts";

export type NodeKind =
  | "file"
  | "folder"
  | "symlink"
  | "char"
  | "block"
  | "fifo"
  | "socket";

/** One inode. Names are binary strings (paths.ts). */
export interface TreeNode {
  readonly kind: NodeKind;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** How many names lead here. */
  links: number;
  /** Of folders. */
  readonly children: Map<string, TreeNode> | null;
  /** Of files. */
  readonly content: FileContent | null;
  /** Of symlinks: where they point. */
  readonly target: string;
  /** Of devices. */
  readonly rdev: bigint;
  /** Values by name; null while there are none. */
  xattrs: Map<string, Uint8Array> | null;
}

/** Default permission bits of what a stream makes, before its chmod comes. */
const NEW_MODE: Readonly<Record<NodeKind, number>> = {
  file: 0o600,
  folder: 0o700,
  symlink: 0o777,
  char: 0o600,
  block: 0o600,
  fifo: 0o600,
  socket: 0o600,
};

/** A node with nothing in it. */
export function newNode(
  kind: NodeKind,
  parts: { content?: FileContent; target?: string; rdev?: bigint } = {},
): TreeNode {
  return {
    kind,
    mode: NEW_MODE[kind],
    uid: 0,
    gid: 0,
    links: 1,
    children: kind === "folder" ? new Map() : null,
    content: parts.content ?? null,
    target: parts.target ?? "",
    rdev: parts.rdev ?? 0n,
    xattrs: null,
  };
}

/** Why a change to a tree is impossible. */
export class TreeFault extends Error {
  override readonly name = "TreeFault";
}

/** A tree and the changes that it takes; every one keeps it a tree. */
export class VirtualTree {
  readonly root: TreeNode;
  /** Names in all folders: a file of two hard links counts twice, the root not at all. */
  names = 0;
  /** Bytes of those names, and of symlinks' targets. */
  textBytes = 0;

  constructor(root: TreeNode = newNode("folder")) {
    this.root = root;
  }

  /** The node at a path ("" is the root), or undefined. */
  find(path: string): TreeNode | undefined {
    if (path === "") return this.root;
    let node = this.root, start = 0;
    for (;;) {
      const slash = path.indexOf("/", start);
      const name = slash < 0 ? path.slice(start) : path.slice(start, slash);
      const child = node.children?.get(name);
      if (child === undefined || slash < 0) return child;
      node = child;
      start = slash + 1;
    }
  }

  /** @throws {TreeFault} when there is nothing */
  get(path: string): TreeNode {
    const node = this.find(path);
    if (node === undefined) throw new TreeFault("there is no such path");
    return node;
  }

  #folder(path: string): Map<string, TreeNode> {
    const parent = this.find(path);
    if (!parent?.children) throw new TreeFault("its folder does not exist");
    return parent.children;
  }

  /** @throws {TreeFault} when the path is taken or its folder missing */
  add(path: string, node: TreeNode): void {
    const siblings = this.#folder(parentKey(path)), name = nameKey(path);
    if (siblings.has(name)) throw new TreeFault("the path exists already");
    siblings.set(name, node);
    this.#count(name, node, 1);
  }

  #count(name: string, node: TreeNode, sign: 1 | -1): void {
    this.names += sign;
    this.textBytes += sign * (name.length + node.target.length);
  }

  #drop(path: string, node: TreeNode): void {
    const name = nameKey(path);
    this.#folder(parentKey(path)).delete(name);
    this.#count(name, node, -1);
  }

  /** Gives a node that is no folder one more name. */
  link(path: string, existing: string): void {
    const node = this.get(existing);
    if (node.children) throw new TreeFault("a hard link to a folder");
    this.add(path, node);
    node.links++;
  }

  /** Removes a name; the node is gone with its last one. */
  unlink(path: string): TreeNode {
    const node = this.get(path);
    if (node.children) throw new TreeFault("it is a folder");
    this.#drop(path, node);
    node.links--;
    return node;
  }

  /** Removes an empty folder. */
  removeFolder(path: string): void {
    const node = this.get(path);
    if (!node.children) throw new TreeFault("it is no folder");
    if (node.children.size > 0) throw new TreeFault("the folder is not empty");
    this.#drop(path, node);
  }

  /** Moves a node to a path that is free. */
  rename(from: string, to: string): void {
    const node = this.get(from);
    if (to === from || to.startsWith(from + "/")) {
      throw new TreeFault("a folder cannot move into itself");
    }
    const target = this.#folder(parentKey(to)), name = nameKey(to);
    if (target.has(name)) throw new TreeFault("the new path exists already");
    this.#drop(from, node);
    target.set(name, node);
    this.#count(name, node, 1);
  }

  /** Every node but the root, folders before their content, names sorted by bytes. */
  *walk(): Generator<{ path: string; node: TreeNode; depth: number }> {
    const stack: { path: string; node: TreeNode; depth: number }[] = [];
    const push = (folder: TreeNode, prefix: string, depth: number) => {
      const names = [...folder.children!.keys()].sort(compareKeys);
      for (let at = names.length - 1; at >= 0; at--) {
        const name = names[at]!;
        stack.push({ path: prefix + name, node: folder.children!.get(name)!, depth });
      }
    };
    push(this.root, "", 1);
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      yield entry;
      if (entry.node.children) push(entry.node, entry.path + "/", entry.depth + 1);
    }
  }
}
