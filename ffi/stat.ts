/** fstat, fstatat and statfs, with the struct layout of this architecture. */
import { arch } from "./arch.ts";
import { type BytePath, check, cString, errno, shortLived, sys } from "./libc.ts";
import { AT_SYMLINK_NOFOLLOW, type Timespec } from "./files.ts";

/** The fields of `struct stat` that op-dbus uses. */
export interface Stat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: bigint;
  readonly sizeBytes: number;
  /** Allocated space, in units of 512 bytes. */
  readonly blocks: number;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
}

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export function isRegular(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFREG;
}
export function isFolder(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFDIR;
}
export function isSymlink(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFLNK;
}

/** struct stat, decoded before the next call. */
const statBuffer = new DataView(new ArrayBuffer(arch.stat.sizeBytes));

/** fstat(2). */
export function fstat(fd: number, path: BytePath = ""): Stat {
  check(sys.fstat(fd, statBuffer), errno[0], "fstat", path);
  return decode(statBuffer);
}

/** fstatat(2); does not follow a link unless told. */
export function statAt(dirFd: number, path: BytePath, follow = false): Stat {
  const name = shortLived(path);
  const flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  check(sys.fstatat(dirFd, name, statBuffer, flags), errno[0], "fstatat", path);
  return decode(statBuffer);
}

function decode(raw: DataView): Stat {
  const at = arch.stat;
  const time = (offset: number): Timespec => ({
    seconds: raw.getBigInt64(offset, true),
    nanoseconds: Number(raw.getBigInt64(offset + 8, true)),
  });
  return {
    dev: raw.getBigUint64(0, true),
    ino: raw.getBigUint64(8, true),
    mode: raw.getUint32(at.mode, true),
    nlink: raw.getUint32(at.nlink, true),
    uid: raw.getUint32(at.uid, true),
    gid: raw.getUint32(at.gid, true),
    rdev: raw.getBigUint64(at.rdev, true),
    sizeBytes: Number(raw.getBigInt64(at.size, true)),
    blocks: Number(raw.getBigInt64(at.blocks, true)),
    mtime: time(at.mtime),
    ctime: time(at.ctime),
  };
}

/** statfs(2) magic of btrfs (linux/magic.h). */
export const BTRFS_SUPER_MAGIC = 0x9123683e;
export const TMPFS_MAGIC = 0x01021994;
export const EXT4_SUPER_MAGIC = 0xef53;
export const XFS_SUPER_MAGIC = 0x58465342;

/** What statfs(2) tells of a file system. */
export interface FileSystemStat {
  readonly magic: number;
  readonly blockSizeBytes: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Free to an unprivileged user. */
  readonly availableBytes: number;
}

/** statfs(2) of a path. */
export function statfs(path: BytePath): FileSystemStat {
  const name = cString(path);
  const raw = new DataView(new ArrayBuffer(120));
  check(sys.statfs(name, raw), errno[0], "statfs", path);
  return decodeStatfs(raw);
}

/** fstatfs(2) of a descriptor. */
export function fstatfs(fd: number, path: BytePath = ""): FileSystemStat {
  const raw = new DataView(new ArrayBuffer(120));
  check(sys.fstatfs(fd, raw), errno[0], "fstatfs", path);
  return decodeStatfs(raw);
}

function decodeStatfs(raw: DataView): FileSystemStat {
  const blockSizeBytes = Number(raw.getBigInt64(8, true));
  const blocks = (offset: number) =>
    Number(raw.getBigUint64(offset, true)) * blockSizeBytes;
  return {
    magic: raw.getUint32(0, true),
    blockSizeBytes,
    totalBytes: blocks(16),
    freeBytes: blocks(24),
    availableBytes: blocks(32),
  };
}
