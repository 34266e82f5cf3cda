/**
 * Carries out commands on disk, beneath one folder: every path is opened with openat2
 * (BENEATH, NO_SYMLINKS, NO_MAGICLINKS), every last component handled without following
 * it. It trusts no audit to have come before.
 */
import { cloneRange, encodedWrite } from "../../ffi/btrfs_stream.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_REMOVEDIR,
  chownAt,
  close,
  fallocate,
  fchmod,
  ftruncate,
  linkAt,
  mkdirAt,
  O_NONBLOCK,
  O_RDONLY,
  openBeneath,
  pwriteAll,
  RENAME_NOREPLACE,
  renameAt,
  symlinkAt,
  type Timespec,
  unlinkAt,
  utimesAt,
} from "../../ffi/files.ts";
import { chmodAt, fchown, futimes, mknodAt } from "../../ffi/inode.ts";
import { isFolder, isRegular, isSymlink, statAt } from "../../ffi/stat.ts";
import { fsetxattr, lremovexattr, lsetxattr } from "../../ffi/xattr.ts";
import type {
  CloneCommand,
  EncodedWriteCommand,
  MakeCommand,
  MakeSpecialCommand,
  StreamCommand,
  StreamTime,
  SymlinkCommand,
} from "./command.ts";
import { copyRange } from "./copy_range.ts";
import type { EarlyDigests } from "./early_digests.ts";
import { StreamError } from "./error.ts";
import { OpenFiles, openRegular } from "./open_files.ts";
import { binaryString, sameBytes } from "./paths.ts";
import { decodeEncoded } from "./zstd.ts";

const S_IFIFO = 0o010000, S_IFSOCK = 0o140000;

/** Where and how commands are carried out. */
export interface ApplyOptions {
  /** The tree's root folder; stays the caller's. */
  readonly rootFd: number;
  /** Mode that the root folder gets at the end unless a command says otherwise. */
  readonly rootMode: number | null;
  /** Owners are set (root, and the policy does not map them). */
  readonly owners: "keep" | "root" | "leave";
  /** On btrfs: compression and encoded writes are used. */
  readonly btrfs: boolean;
  /**
   * The root folder that a clone's source lies beneath, by the UUID it names; null
   * refuses it. The descriptor stays the caller's.
   */
  readonly cloneRoot: (uuid: Uint8Array) => number | null;
  /** Takes files that the stream has left, to be hashed meanwhile. */
  readonly early?: EarlyDigests | null;
}

/** Attributes of the root folder, set when all else is done. */
interface RootAttributes {
  mode: number | null;
  owner: readonly [uid: number, gid: number] | null;
  times: readonly [atime: Timespec, mtime: Timespec] | null;
}

type NewCommand = MakeCommand | MakeSpecialCommand | SymlinkCommand;

function isMake(command: StreamCommand): command is NewCommand {
  const { type } = command;
  return type === "mkfile" || type === "mkdir" || type === "symlink" ||
    type === "mknod" || type === "mkfifo" || type === "mksock";
}

/** A command that outlives the buffer that it was read from. */
function kept(command: NewCommand): NewCommand {
  const path = command.path.slice();
  return command.type === "symlink"
    ? { ...command, path, target: command.target.slice() }
    : { ...command, path };
}

/** Applies commands in order; {@link Applier.finish} at the end, dispose always. */
export class Applier implements Disposable {
  readonly #options: ApplyOptions;
  readonly #files: OpenFiles;
  readonly #root: RootAttributes;
  /**
   * What is to be made next, put off by one command: the kernel makes everything under a
   * name of its own and renames it at once, and a rename costs as much as a new file.
   */
  #made: NewCommand | null = null;
  #encoded: boolean;

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#root = { mode: options.rootMode, owner: null, times: null };
    this.#files = new OpenFiles(options.rootFd, options.early);
    this.#encoded = options.btrfs;
  }

  /** @throws {SysError} what a call gave; {StreamError} on what cannot be applied */
  handle(command: StreamCommand): void {
    const made = this.#made;
    if (made !== null) {
      if (command.type === "rename" && sameBytes(command.path, made.path)) {
        this.#made = { ...made, path: command.pathTo.slice() };
        return;
      }
      this.#makeWaiting();
    }
    if (isMake(command)) this.#made = kept(command);
    else this.#alter(command);
  }

  /** Makes what was put off. */
  #makeWaiting(): void {
    const made = this.#made, files = this.#files;
    this.#made = null;
    if (made === null) return;
    if (made.type === "mkfile") return files.create(made.path);
    if (made.type === "mkdir") {
      return mkdirAt(files.folderOf(made.path), files.name(made.path), 0o700);
    }
    if (made.type !== "symlink") return this.#makeSpecial(made);
    symlinkAt(made.target, files.folderOf(made.path), files.name(made.path));
  }

  #alter(command: StreamCommand): void {
    const files = this.#files;
    switch (command.type) {
      case "rename":
        return this.#rename(command.path, command.pathTo);
      case "link": {
        const from = files.folderOf(command.existing), old = files.name(command.existing);
        return linkAt(from, old, files.folderOf(command.path), files.name(command.path));
      }
      case "unlink":
      case "rmdir": {
        const flags = command.type === "rmdir" ? AT_REMOVEDIR : 0;
        files.forget(command.path);
        return unlinkAt(files.folderOf(command.path), files.name(command.path), flags);
      }
      default:
        return this.#change(command);
    }
  }

  #change(command: StreamCommand): void {
    const files = this.#files;
    switch (command.type) {
      case "write":
        pwriteAll(files.file(command.path), command.data, command.offset);
        return files.wrote(command.data.length);
      case "encoded_write":
        return this.#encodedWrite(command);
      case "clone":
        return this.#clone(command);
      case "truncate":
        return ftruncate(files.file(command.path), command.size);
      case "fallocate": {
        const { mode, offset, length } = command;
        return fallocate(files.file(command.path), mode, offset, length);
      }
      case "chmod":
        return this.#chmod(command.path, command.mode & 0o7777);
      case "chown":
        return this.#chown(command.path, command.uid, command.gid);
      case "utimes":
        return this.#utimes(
          command.path,
          timespec(command.atime),
          timespec(command.mtime),
        );
      case "set_xattr":
        return this.#setXattr(command.path, command.name, command.value);
      case "remove_xattr":
        return this.#removeXattr(command.path, command.name);
      default: // subvol, snapshot, end, fileattr, update_extent: nothing to be done here
        return;
    }
  }

  #makeSpecial({ type, path, mode, rdev }: MakeSpecialCommand): void {
    const full = type === "mkfifo"
      ? S_IFIFO | 0o600
      : type === "mksock"
      ? S_IFSOCK | 0o600
      : (mode & ~0o7777) | 0o600;
    const device = type === "mknod" ? rdev : 0n;
    mknodAt(this.#files.folderOf(path), this.#files.name(path), full, device);
  }

  #rename(from: Uint8Array, to: Uint8Array): void {
    const files = this.#files;
    const source = files.folderOf(from), target = files.folderOf(to);
    renameAt(source, files.name(from), target, files.name(to), RENAME_NOREPLACE);
    files.renamed(from, to);
  }

  #encodedWrite(command: EncodedWriteCommand): void {
    const fd = this.#files.file(command.path);
    this.#files.wrote(command.unencodedFileLength);
    if (this.#encoded) {
      try {
        return encodedWrite(fd, command);
      } catch (error) {
        // Not on this file (no copy-on-write), kernel or without root: write it plainly.
        if (!isSysError(error, "EINVAL", "ENOTTY", "EPERM", "EOPNOTSUPP", "ENOTSUP")) {
          throw error;
        }
        if (isSysError(error, "ENOTTY", "EPERM")) this.#encoded = false;
      }
    }
    const { unencodedOffset } = command;
    const whole = decodeEncoded(command);
    const end = unencodedOffset + command.unencodedFileLength;
    pwriteAll(fd, whole.subarray(unencodedOffset, end), command.offset);
  }

  #clone(command: CloneCommand): void {
    const root = this.#options.cloneRoot(command.cloneUuid);
    if (root === null) {
      const what = "clone: from a snapshot elsewhere";
      throw new StreamError("stream_refused", what, command.at);
    }
    const target = this.#files.file(command.path);
    const source = openRegular(root, command.clonePath, O_RDONLY);
    try {
      const { cloneOffset, length, offset } = command;
      this.#files.wrote(length);
      try {
        cloneRange(target, source, cloneOffset, length, offset);
      } catch (error) {
        if (!isSysError(error)) throw error;
        if (!CANNOT_SHARE.includes(error.code)) throw error;
        copyRange(source, cloneOffset, target, offset, length);
      }
    } finally {
      close(source);
    }
  }

  #chmod(path: Uint8Array, mode: number): void {
    if (path.length === 0) return void (this.#root.mode = mode);
    const open = this.#files.current(path);
    if (open >= 0) return fchmod(open, mode);
    const folder = this.#files.folderOf(path), name = this.#files.name(path);
    const stat = statAt(folder, name);
    if (isSymlink(stat)) return;
    if (!isRegular(stat) && !isFolder(stat)) return chmodAt(folder, name, mode);
    const fd = openBeneath(this.#options.rootFd, path, O_RDONLY | O_NONBLOCK);
    try {
      fchmod(fd, mode);
    } finally {
      close(fd);
    }
  }

  #chown(path: Uint8Array, uid: number, gid: number): void {
    const { owners } = this.#options;
    if (owners === "leave") return;
    const owner = owners === "keep" ? [uid, gid] as const : [0, 0] as const;
    if (path.length === 0) return void (this.#root.owner = owner);
    const open = this.#files.current(path);
    if (open >= 0) return fchown(open, ...owner);
    chownAt(this.#files.folderOf(path), this.#files.name(path), ...owner);
  }

  #utimes(path: Uint8Array, atime: Timespec, mtime: Timespec): void {
    if (path.length === 0) return void (this.#root.times = [atime, mtime]);
    const open = this.#files.current(path);
    if (open >= 0) return futimes(open, atime, mtime);
    if (this.#files.setFolderTimes(path, atime, mtime)) return;
    utimesAt(this.#files.folderOf(path), this.#files.name(path), atime, mtime);
  }

  #setXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): void {
    if (!this.#options.btrfs && binaryString(name).startsWith("btrfs.")) return;
    if (path.length === 0) return fsetxattr(this.#options.rootFd, name, value);
    const open = this.#files.current(path);
    if (open >= 0) return fsetxattr(open, name, value);
    lsetxattr(this.#files.procPath(path), name, value);
  }

  #removeXattr(path: Uint8Array, name: Uint8Array): void {
    const isProperty = binaryString(name).startsWith("btrfs.");
    if (!this.#options.btrfs && isProperty) return;
    const target = path.length === 0
      ? `/proc/self/fd/${this.#options.rootFd}/.`
      : this.#files.procPath(path);
    lremovexattr(target, name);
  }

  /** Lets go of the last file, so that all of them can be read. */
  settle(): void {
    this.#makeWaiting();
    this.#files.leave();
  }

  /** Sets the root folder's own attributes and closes every file. */
  finish(): void {
    const { rootFd } = this.#options, { owner, mode, times } = this.#root;
    this.#files.close();
    if (owner) fchown(rootFd, ...owner);
    if (mode !== null) fchmod(rootFd, mode);
    if (times) futimes(rootFd, ...times);
  }

  [Symbol.dispose](): void {
    this.#files.abandon();
  }
}

/** What a file system that cannot share says, or ranges that cannot be shared. */
const CANNOT_SHARE = ["EOPNOTSUPP", "ENOTSUP", "ENOTTY", "EXDEV", "EINVAL", "ETXTBSY"];

function timespec(time: StreamTime): Timespec {
  return { seconds: BigInt(time.seconds), nanoseconds: time.nanoseconds };
}
