/**
 * The audit: replays a stream's commands on a tree in memory, under a policy and limits,
 * and says whether it may touch the disk. It touches nothing itself.
 */
import type {
  CloneCommand,
  EncodedWriteCommand,
  MakeCommand,
  MakeSpecialCommand,
  SetXattrCommand,
  StreamCommand,
} from "./command.ts";
import type { HashWorker } from "../../ffi/hash_worker.ts";
import { type AuditTotals, TotalsCounter } from "./audit_totals.ts";
import { ContentPool, FileContent } from "./content.ts";
import { StreamError } from "./error.ts";
import type { BaseTree } from "./base_tree.ts";
import type { StreamLimits } from "./limits.ts";
import { identityOf, type StreamIdentity, uuidText } from "./identity.ts";
import { isListed, type StreamPolicy } from "./policy.ts";
import { binaryString, displayPath, targetStaysInside } from "./paths.ts";
import { newNode, type NodeKind, TreeFault, type TreeNode, VirtualTree } from "./tree.ts";
import { decodeEncoded } from "./zstd.ts";

const S_IFMT = 0o170000;
const SPECIAL_KINDS: Readonly<Record<number, NodeKind>> = {
  0o020000: "char",
  0o060000: "block",
  0o010000: "fifo",
  0o140000: "socket",
};
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, the one mode the kernel's send uses. */
export const PUNCH_HOLE = 3;
const PATH_MAX_BYTES = 4095;

/** One thing that the policy does not allow. */
export interface AuditFinding {
  readonly message: string;
  /** Byte offset of the command in the decompressed stream. */
  readonly offset: number;
}

/** How an audit is to be done. */
export interface AuditOptions {
  readonly policy: StreamPolicy;
  readonly limits: StreamLimits;
  /** Compute contents' hashes on the way. */
  readonly hashing: boolean;
  /** Hashes large contents on another core; stays the caller's. */
  readonly worker?: HashWorker | null;
  /** The tree that an incremental stream builds on; asked once, when it begins. */
  readonly base?: (identity: StreamIdentity) => BaseTree | null;
  /** Takes what the policy refuses instead of an error at the first; for inspection. */
  readonly findings?: AuditFinding[];
}

/** Replays commands; {@link Auditor.handle} throws at the first that may not be. */
export class Auditor {
  readonly tree: VirtualTree;
  readonly #totals: TotalsCounter;
  readonly #options: AuditOptions;
  readonly #pool: ContentPool;
  #identity: StreamIdentity | null = null;
  #base: BaseTree | null = null;
  #at = 0;
  #lastPath: Uint8Array = new Uint8Array();
  #lastKey = "";

  constructor(options: AuditOptions) {
    this.#options = options;
    this.#pool = new ContentPool(options.hashing, options.worker);
    this.tree = new VirtualTree();
    this.#totals = new TotalsCounter(options.limits, () => this.#at);
  }

  /** @throws {TypeError} before the first command */
  get identity(): StreamIdentity {
    if (!this.#identity) throw new TypeError("the stream has not begun");
    return this.#identity;
  }

  /** What was counted so far. */
  get totals(): Readonly<AuditTotals> {
    return this.#totals.totals;
  }

  /** The tree that an incremental stream builds on. */
  get base(): BaseTree | null {
    return this.#base;
  }

  /** @throws {StreamError} when the command is impossible or not allowed */
  handle(command: StreamCommand): void {
    this.#at = command.at;
    try {
      this.#dispatch(command);
    } catch (error) {
      if (!(error instanceof TreeFault)) throw error;
      const path = "path" in command ? displayPath(binaryString(command.path)) : "";
      throw this.#error("stream_corrupt", `${command.type} ${path}: ${error.message}`);
    }
  }

  #error(code: "stream_corrupt" | "stream_refused" | "stream_limit", what: string) {
    return new StreamError(code, what, this.#at);
  }

  /** The policy does not allow it: an error, or a finding where those are collected. */
  #refuse(what: string): void {
    const { findings, policy } = this.#options;
    const message = `${what} is not allowed in a ${policy.name}`;
    if (!findings) throw this.#error("stream_refused", message);
    if (findings.length < 100) findings.push({ message, offset: this.#at });
  }

  #limit(what: string): never {
    throw this.#error("stream_limit", what);
  }

  /** The key of a path; runs of commands on one path pay for it once. */
  #key(path: Uint8Array): string {
    const last = this.#lastPath;
    if (path.length === last.length) {
      let at = 0;
      while (at < last.length && last[at] === path[at]) at++;
      if (at === last.length) return this.#lastKey;
    }
    this.#lastPath = path.slice();
    return this.#lastKey = binaryString(path);
  }

  #dispatch(command: StreamCommand): void {
    if (command.type === "subvol" || command.type === "snapshot") {
      return this.#begin(command);
    }
    if (!this.#identity) {
      throw this.#error("stream_refused", `${command.type} comes before the subvolume`);
    }
    switch (command.type) {
      case "mkfile":
      case "mkdir":
        return this.#make(command);
      case "mknod":
      case "mkfifo":
      case "mksock":
        return this.#makeSpecial(command);
      case "symlink": {
        const target = binaryString(command.target);
        if (target.length === 0 || target.length > PATH_MAX_BYTES) {
          throw this.#error("stream_corrupt", `a link target of ${target.length} bytes`);
        }
        if (target.includes("\0")) {
          throw this.#error("stream_corrupt", "a NUL byte in a link target");
        }
        return this.#add(this.#key(command.path), newNode("symlink", { target }));
      }
      case "rename":
        this.tree.rename(this.#key(command.path), binaryString(command.pathTo));
        return this.#checkNames();
      case "link":
        if (!this.#options.policy.hardLinks) this.#refuse("a hard link");
        this.tree.link(this.#key(command.path), binaryString(command.existing));
        return this.#checkNames();
      case "unlink":
        return this.#totals.drop(this.tree.unlink(this.#key(command.path)));
      case "rmdir":
        return this.#removeFolder(this.#key(command.path));
      case "end":
        return this.#end();
      default:
        return this.#change(command);
    }
  }

  #change(command: StreamCommand): void {
    switch (command.type) {
      case "write":
        return this.#write(command.path, command.offset, command.data, 0);
      case "encoded_write":
        return this.#encodedWrite(command);
      case "clone":
        return this.#clone(command);
      case "truncate":
        return this.#totals.change(
          this.#file(command.path),
          (content) => content.resize(command.size),
          command.size,
        );
      case "fallocate":
        if (command.mode !== PUNCH_HOLE) {
          throw this.#error("stream_refused", `fallocate mode ${command.mode}`);
        }
        return this.#totals.change(
          this.#file(command.path),
          (content) => content.punch(command.offset, command.length),
        );
      case "chmod":
        return this.#chmod(this.#key(command.path), command.mode);
      case "chown":
        return this.#chown(this.#key(command.path), command.uid, command.gid);
      case "utimes":
        return void this.tree.get(this.#key(command.path));
      case "set_xattr":
        return this.#setXattr(command);
      case "remove_xattr":
        return this.#removeXattr(this.#key(command.path), binaryString(command.name));
      case "fileattr":
        this.tree.get(this.#key(command.path));
        if (this.#options.policy.fileattr === "refuse") this.#refuse("fileattr");
        return;
      case "update_extent":
        this.#file(command.path);
        return this.#refuse("a stream without file data");
      default:
        throw this.#error("stream_refused", `${command.type} is not read`);
    }
  }

  #begin(command: StreamCommand & { type: "subvol" | "snapshot" }): void {
    if (this.#identity) throw this.#error("stream_refused", "a second subvolume");
    this.#identity = identityOf(command);
    const { name, parent } = this.#identity;
    if (name.includes("/")) {
      throw this.#error("stream_refused", "the subvolume's name is a path");
    }
    if (!parent) return;
    const base = this.#options.base?.(this.#identity) ?? null;
    if (!base) {
      throw this.#error(
        "stream_refused",
        `it is a difference to snapshot ${parent.uuid}, which is not here and verified`,
      );
    }
    this.#base = base;
    base.plant(this.tree, this.#pool);
    for (const { node } of this.tree.walk()) this.#totals.add(node);
  }

  #add(path: string, node: TreeNode): void {
    if (!this.#options.policy.kinds.includes(node.kind)) {
      this.#refuse(`${displayPath(path)}: a ${node.kind}`);
    }
    this.tree.add(path, node);
    this.#checkNames();
  }

  /** What a tree takes in memory, beside its extents and attributes. */
  #checkNames(): void {
    const { names, textBytes } = this.#options.limits, { tree } = this;
    if (tree.names > names) this.#limit(`more than ${names} files, folders and links`);
    if (tree.textBytes > textBytes) {
      this.#limit(`more than ${textBytes} bytes of names and link targets`);
    }
  }

  #make(command: MakeCommand): void {
    const node = command.type === "mkdir"
      ? newNode("folder")
      : newNode("file", { content: new FileContent(this.#pool) });
    this.#add(this.#key(command.path), node);
  }

  #makeSpecial(command: MakeSpecialCommand): void {
    const kind = command.type === "mkfifo"
      ? "fifo"
      : command.type === "mksock"
      ? "socket"
      : SPECIAL_KINDS[command.mode & S_IFMT];
    if (kind === undefined) {
      throw this.#error("stream_refused", `mknod of mode 0${command.mode.toString(8)}`);
    }
    this.#add(this.#key(command.path), newNode(kind, { rdev: command.rdev }));
  }

  #removeFolder(path: string): void {
    const node = this.tree.get(path);
    this.tree.removeFolder(path);
    this.#totals.dropXattrs(node);
  }

  #file(path: Uint8Array): FileContent {
    const content = this.tree.get(this.#key(path)).content;
    if (!content) throw new TreeFault("it is no regular file");
    return content;
  }

  #write(path: Uint8Array, offset: number, data: Uint8Array, inner: number): void {
    const at = this.#at, end = offset + data.length;
    this.#totals.change(
      this.#file(path),
      (content) => content.write(offset, data, at, inner),
      end,
    );
    this.#totals.wrote(data.length);
  }

  #encodedWrite(command: EncodedWriteCommand): void {
    const { unencodedFileLength, unencodedOffset } = command;
    const decoded = decodeEncoded(command);
    const part = decoded.subarray(unencodedOffset, unencodedOffset + unencodedFileLength);
    this.#write(command.path, command.offset, part, unencodedOffset);
  }

  #clone(command: CloneCommand): void {
    const target = this.#file(command.path);
    const source = this.#cloneSource(command);
    const { cloneOffset, length, offset } = command;
    if (cloneOffset + length > source.size) {
      throw this.#error("stream_corrupt", "clone: beyond the end of its source");
    }
    if (source === target && Math.abs(cloneOffset - offset) < length) {
      throw this.#error("stream_corrupt", "clone: onto part of itself"); // as the kernel
    }
    this.#totals.change(
      target,
      (content) => content.cloneFrom(source, cloneOffset, length, offset),
      offset + length,
    );
  }

  #cloneSource(command: CloneCommand): FileContent {
    const uuid = uuidText(command.cloneUuid), path = binaryString(command.clonePath);
    const { parent, uuid: own } = this.identity;
    const tree = uuid === own
      ? this.tree
      : parent && uuid === parent.uuid
      ? this.#base!.tree
      : null;
    if (tree === null) {
      throw this.#error("stream_refused", `clone: from a snapshot elsewhere (${uuid})`);
    }
    const content = tree.find(path)?.content;
    if (!content) throw new TreeFault("the clone's source is no regular file");
    return content;
  }

  #chmod(path: string, mode: number): void {
    const node = this.tree.get(path);
    const bits = mode & 0o7777;
    if ((bits & ~this.#options.policy.modeMask) !== 0) {
      this.#refuse(`${displayPath(path)}: mode 0${mode.toString(8)}`);
    }
    if (node.kind === "symlink") throw new TreeFault("the mode of a symlink");
    node.mode = bits;
  }

  #chown(path: string, uid: number, gid: number): void {
    const node = this.tree.get(path);
    const { owners } = this.#options.policy;
    if (owners === "root" && (uid !== 0 || gid !== 0)) {
      this.#refuse(`${displayPath(path)}: owner ${uid}:${gid}`);
    }
    node.uid = owners === "any" ? uid : 0;
    node.gid = owners === "any" ? gid : 0;
  }

  #setXattr(command: SetXattrCommand): void {
    const path = this.#key(command.path), name = binaryString(command.name);
    const node = this.tree.get(path);
    if (!isListed(this.#options.policy.xattrs, name)) {
      this.#refuse(`${displayPath(path)}: attribute ${displayPath(name)}`);
    }
    const old = node.xattrs?.get(name);
    node.xattrs ??= new Map();
    node.xattrs.set(name, command.value.slice());
    this.#totals.addXattrs(command.value.length - (old?.length ?? -name.length));
  }

  #removeXattr(path: string, name: string): void {
    const node = this.tree.get(path);
    const old = node.xattrs?.get(name);
    if (old === undefined) {
      // The kernel lists btrfs.* of a base tree in no other way than by property.
      if (name.startsWith("btrfs.")) return;
      throw new TreeFault("there is no such attribute");
    }
    node.xattrs!.delete(name);
    this.#totals.addXattrs(-name.length - old.length);
  }

  /** What can only be judged when all names are final. */
  #end(): void {
    const { policy, limits } = this.#options;
    for (const { path, node, depth } of this.tree.walk()) {
      if (path.length > PATH_MAX_BYTES) this.#limit(`a path of ${path.length} bytes`);
      if (depth > limits.depth) this.#limit(`a tree deeper than ${limits.depth} folders`);
      if (node.kind !== "symlink" || policy.symlinks === "any") continue;
      if (!targetStaysInside(path, node.target)) {
        const shown = `${displayPath(path)}: a link to ${displayPath(node.target)}`;
        this.#refuse(`${shown}, outside of the tree,`);
      }
    }
  }
}
