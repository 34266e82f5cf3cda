/**
 * The tree digest: one SHA-256 for a whole tree, independent of where it lies.
 *
 * In: names, kinds, permission bits, contents, symlink targets, device numbers, `user.*`
 * attributes. Out: owners, times, inode numbers, UUIDs, hard-link structure, holes,
 * compression. So the author's folder, the packed stream, the received subvolume and a
 * copy of it on ext4 have the same digest.
 *
 * Encoding: `op-dbus-tree-1\0`, then each entry in walk order (the root first with an
 * empty path; then folders before their content, names sorted by bytes): kind (one
 * ASCII letter), mode u32, path, body, count of attributes u32, each name and value,
 * names sorted by bytes. Body: of a file its size u64 and the SHA-256 of its content; of
 * a symlink its target; of a device its number u64; else nothing. Strings are a u32
 * length and the bytes; numbers are little-endian.
 */
import { createHash, type Hash } from "node:crypto";
import { binaryBytes, compareKeys } from "./paths.ts";
import { type NodeKind, type TreeNode, type VirtualTree } from "./tree.ts";

const HEADER = "op-dbus-tree-1\0";
const FLUSH_BYTES = 64 * 1024;
const SYMLINK_MODE = 0o777;

const LETTER: Readonly<Record<NodeKind, string>> = {
  file: "f",
  folder: "d",
  symlink: "l",
  char: "c",
  block: "b",
  fifo: "p",
  socket: "s",
};

/** What the digest says of one entry. */
export interface DigestEntry {
  /** Binary string; "" for the root. */
  readonly path: string;
  readonly kind: NodeKind;
  readonly mode: number;
  readonly sizeBytes?: number;
  readonly sha256?: Uint8Array;
  readonly target?: string;
  readonly rdev?: bigint;
  readonly xattrs?: ReadonlyMap<string, Uint8Array> | null;
}

/** True for the attributes that belong to a tree's identity. */
export function isDigestXattr(name: string): boolean {
  return name.startsWith("user.");
}

/** Takes entries in walk order, gives the digest. */
export class TreeDigester {
  readonly #hash: Hash = createHash("sha256").update(HEADER);
  #buffer = new Uint8Array(FLUSH_BYTES * 2);
  #view = new DataView(this.#buffer.buffer);
  #used = 0;

  add(entry: DigestEntry): void {
    this.#room(5);
    this.#buffer[this.#used++] = LETTER[entry.kind].charCodeAt(0);
    this.#u32(entry.kind === "symlink" ? SYMLINK_MODE : entry.mode);
    this.#text(entry.path);
    if (entry.kind === "file") {
      this.#u64(BigInt(entry.sizeBytes!));
      this.#bytes(entry.sha256!);
    } else if (entry.kind === "symlink") this.#text(entry.target!);
    else if (entry.kind === "char" || entry.kind === "block") this.#u64(entry.rdev!);
    const names = entry.xattrs
      ? [...entry.xattrs.keys()].filter(isDigestXattr).sort(compareKeys)
      : [];
    this.#u32(names.length);
    for (const name of names) {
      const value = entry.xattrs!.get(name)!;
      this.#text(name);
      this.#u32(value.length);
      this.#bytes(value);
    }
    if (this.#used >= FLUSH_BYTES) this.#flush();
  }

  /** The digest, lower-case hexadecimal; the digester is spent. */
  digest(): string {
    this.#flush();
    return this.#hash.digest("hex");
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }
  #room(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return;
    this.#flush();
    if (bytes <= this.#buffer.length) return;
    this.#buffer = new Uint8Array(bytes);
    this.#view = new DataView(this.#buffer.buffer);
  }
  #u32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.#used, value, true);
    this.#used += 4;
  }
  #u64(value: bigint): void {
    this.#room(8);
    this.#view.setBigUint64(this.#used, value, true);
    this.#used += 8;
  }
  #bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }
  #text(text: string): void {
    this.#u32(text.length);
    this.#bytes(binaryBytes(text));
  }
}

/** A node of a virtual tree as the digest sees it. */
export function digestEntry(path: string, node: TreeNode): DigestEntry {
  const { kind, mode, xattrs, target, rdev, content } = node;
  if (content === null) return { path, kind, mode, xattrs, target, rdev };
  const sha256 = content.sha256();
  if (sha256 === null) throw new TypeError("a file's content has not been resolved");
  return { path, kind, mode, xattrs, sizeBytes: content.size, sha256 };
}

/** The digest of a virtual tree whose contents are all resolved. */
export function digestOfTree(tree: VirtualTree): string {
  const digester = new TreeDigester();
  digester.add(digestEntry("", tree.root));
  for (const { path, node } of tree.walk()) digester.add(digestEntry(path, node));
  return digester.digest();
}
