/**
 * Follows the commands of a metadata stream in a tree of what they touch, so that renames
 * of folders, the kernel's orphan names (`o257-6-0`) and renames by link and unlink come
 * out as what they mean.
 */
import type { StreamCommand } from "../stream/command.ts";

/** What happened to one path. */
export interface Change {
  readonly path: string;
  /** `deleted` and `created` are of the name; the rest of what it names. */
  readonly change: "created" | "deleted" | "renamed" | "modified" | "metadata";
  /** Where it was before, for `renamed`. */
  readonly from: string | null;
  /** Bytes that were written, cloned or cut. */
  readonly bytes: number;
}

class Node {
  readonly children = new Map<string, Node>();
  created = false;
  touched = false;
  modified = false;
  bytes = 0;
  /** Its path before all this, where it was moved. */
  movedFrom: string | null = null;
  /** Former path of the file that this is another name of. */
  linkOf: string | null = null;

  constructor(public name: string, public parent: Node | null) {}

  /** Its path before all this; null when it was not there. */
  origin(): string | null {
    if (this.created) return null;
    return this.movedFrom ?? this.impliedOrigin();
  }

  /** Where it was if nothing but the folders above it moved. */
  impliedOrigin(): string | null {
    if (this.parent === null) return "";
    const above = this.parent.origin();
    return above === null ? null : join(above, this.name);
  }
}

const join = (above: string, name: string) => above === "" ? name : `${above}/${name}`;
const decoder = new TextDecoder();

/** More nodes than this are not followed. */
const MAX_NODES = 1_000_000;

/** Takes the commands of an incremental stream, gives the changes. */
export class ChangeTree {
  readonly #root = new Node("", null);
  readonly #deleted = new Set<string>();
  #nodes = 0;

  /** There were more changes than are kept. */
  get cut(): boolean {
    return this.#nodes >= MAX_NODES;
  }

  take(command: StreamCommand): void {
    switch (command.type) {
      case "mkfile":
      case "mkdir":
      case "symlink":
      case "mknod":
      case "mkfifo":
      case "mksock":
        this.#at(command.path).created = true;
        return;
      case "link":
        return this.#link(this.#at(command.existing), this.#at(command.path));
      case "rename":
        return this.#rename(this.#at(command.path), decoder.decode(command.pathTo));
      case "unlink":
      case "rmdir":
        return this.#remove(this.#at(command.path));
      case "update_extent":
      case "clone":
        return this.#content(command.path, command.length);
      case "write":
        return this.#content(command.path, command.data.length);
      case "encoded_write":
        return this.#content(command.path, command.unencodedFileLength);
      case "truncate":
      case "fallocate":
        return this.#content(command.path, 0);
      case "chmod":
      case "chown":
      case "set_xattr":
      case "remove_xattr":
      case "fileattr":
        this.#at(command.path).touched = true;
        return;
      default:
        return; // utimes follows every other change, and says nothing by itself
    }
  }

  /** The changes, sorted by path. */
  changes(): Change[] {
    const found: Change[] = [], explained = new Set<string>();
    for (const [node, path] of walk(this.#root, "")) {
      const change = this.#changeOf(node, path, explained);
      if (change === null) continue;
      found.push(change);
      if (change.from !== null) explained.add(change.from);
      if (change.change === "modified") explained.add(path);
    }
    for (const path of this.#deleted) {
      if (explained.has(path)) continue;
      found.push({ path, change: "deleted", from: null, bytes: 0 });
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  }

  #changeOf(node: Node, path: string, explained: ReadonlySet<string>): Change | null {
    const { bytes } = node;
    if (node.created) {
      const from = node.linkOf; // one of several new names takes the former one's place
      if (from !== null && this.#deleted.has(from) && !explained.has(from)) {
        return { path, change: "renamed", from, bytes };
      }
      const change = this.#deleted.has(path) ? "modified" : "created";
      return { path, change, from: null, bytes };
    }
    const origin = node.origin();
    if (origin !== null && origin !== node.impliedOrigin() && origin !== path) {
      return { path, change: "renamed", from: origin, bytes };
    }
    if (node.modified) return { path, change: "modified", from: null, bytes };
    return node.touched ? { path, change: "metadata", from: null, bytes } : null;
  }

  #at(path: Uint8Array | string): Node {
    const text = typeof path === "string" ? path : decoder.decode(path);
    let node = this.#root;
    for (const name of text.split("/").filter(Boolean)) {
      let next = node.children.get(name);
      if (!next) {
        next = new Node(name, node);
        if (!this.cut) node.children.set(name, next);
        this.#nodes++;
      }
      node = next;
    }
    return node;
  }

  #link(existing: Node, added: Node): void {
    added.created = true;
    added.linkOf = existing.origin() ?? existing.linkOf;
  }

  #content(path: Uint8Array, bytes: number): void {
    const node = this.#at(path);
    node.modified = true;
    node.bytes += bytes;
  }

  #rename(node: Node, to: string): void {
    const origin = node.origin(), slash = to.lastIndexOf("/");
    node.parent?.children.delete(node.name);
    node.movedFrom = origin;
    node.name = to.slice(slash + 1);
    node.parent = this.#at(to.slice(0, Math.max(0, slash)));
    node.parent.children.set(node.name, node);
  }

  #remove(node: Node): void {
    const origin = node.origin();
    if (origin !== null) this.#deleted.add(origin);
    node.parent?.children.delete(node.name);
  }
}

function* walk(node: Node, path: string): Generator<[Node, string]> {
  for (const child of node.children.values()) {
    const at = join(path, child.name);
    yield [child, at];
    yield* walk(child, at);
  }
}
