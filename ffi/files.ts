/**
 * Files, by descriptor and relative to a directory descriptor. Thin wrappers over libc:
 * same names, typed errors, paths as bytes or strings.
 *
 * Source: Linux man-pages section 2; openat2(2) for {@link openBeneath}.
 */
import { arch } from "./arch.ts";
import {
  AT_FDCWD,
  type BytePath,
  check,
  checkSize,
  cString,
  errno,
  printable,
  shortLived,
  sys,
} from "./libc.ts";
import { SysError } from "./errno.ts";
import { tryOpen, tryOpenAt } from "./try_open.ts";

export { AT_FDCWD };

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_DIRECTORY = arch.O_DIRECTORY;
export const O_NOFOLLOW = arch.O_NOFOLLOW;
export const O_DIRECT = arch.O_DIRECT;
/** A file without a name in the folder that is opened. */
export const O_TMPFILE = 0o20000000 | arch.O_DIRECTORY;

export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

/** openat2(2) `resolve` bits. */
export const RESOLVE_NO_XDEV = 1;
export const RESOLVE_NO_MAGICLINKS = 2;
export const RESOLVE_NO_SYMLINKS = 4;
export const RESOLVE_BENEATH = 8;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;

/**
 * open(2). O_CLOEXEC is always added.
 *
 * @param path absolute, or relative to the working directory
 * @param flags O_* bits
 * @param mode permission bits for O_CREAT
 * @returns a descriptor that the caller closes
 */
export function open(path: BytePath, flags: number, mode = 0): number {
  return openAt(AT_FDCWD, path, flags, mode);
}

/** openat(2); see {@link open}. */
export function openAt(dirFd: number, path: BytePath, flags: number, mode = 0): number {
  const name = shortLived(path);
  const fd = tryOpenAt(dirFd, name, flags | O_CLOEXEC, mode);
  return check(fd, -fd, "open", path);
}

/**
 * openat2(2): opens a path that cannot leave `dirFd`.
 *
 * @param dirFd the folder that the path stays beneath
 * @param path relative
 * @param flags O_* bits; O_CLOEXEC is added
 * @param mode permission bits for O_CREAT, else 0
 * @param resolve RESOLVE_* bits; default beneath, no symlinks of any kind
 * @throws {SysError} EXDEV or ELOOP where the path would leave or follow a link
 */
export function openBeneath(
  dirFd: number,
  path: BytePath,
  flags: number,
  mode = 0,
  resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
): number {
  const name = shortLived(path);
  openHow[0] = BigInt(flags | O_CLOEXEC);
  openHow[1] = BigInt(mode);
  openHow[2] = BigInt(resolve);
  const [at, path0, how] = [BigInt(dirFd), pointerNumber(name), pointerNumber(openHow)];
  const call = BigInt(arch.syscall.openat2), folder = BigInt.asUintN(64, at);
  const fd = tryOpen(() => {
    const opened = sys.syscall(call, folder, path0, how, 24n, 0n, 0n);
    return opened < 0n ? -errno[0] : Number(opened);
  });
  return check(fd, -fd, "openat2", path);
}

/** struct open_how: flags, mode, resolve. */
const openHow = new BigUint64Array(3);

/** The address of a buffer, for the generic syscall; keep `buffer` referenced meanwhile. */
export function pointerNumber(buffer: Uint8Array | BigUint64Array): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer as BufferSource));
}

/** close(2). */
export function close(fd: number): void {
  check(sys.close(fd), errno[0], "close");
}

/** Opens, runs, closes: also when `body` throws. */
export function withFd<T>(fd: number, body: (fd: number) => T): T {
  try {
    return body(fd);
  } finally {
    close(fd);
  }
}

/** read(2): up to `into.length` bytes; 0 at the end of the file. */
export function read(fd: number, into: Uint8Array): number {
  for (;;) {
    const n = sys.read(fd, into as BufferSource, BigInt(into.length));
    const number = errno[0];
    if (n >= 0n) return Number(n);
    if (number !== 4) throw new SysError("read", "", number); // 4 = EINTR
  }
}

/** write(2) until every byte is written. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) {
    const rest = bytes.subarray(done);
    const n = sys.write(fd, rest as BufferSource, BigInt(rest.length));
    const number = errno[0];
    if (n >= 0n) {
      done += Number(n);
      continue;
    }
    if (number !== 4) throw new SysError("write", "", number);
  }
}

/** pread(2): up to `into.length` bytes at `offset`; short only at the end of the file. */
export function pread(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.length) {
    const rest = into.subarray(done);
    const n = checkSize(
      sys.pread(fd, rest as BufferSource, BigInt(rest.length), BigInt(offset + done)),
      errno[0],
      "pread",
    );
    if (n === 0) break;
    done += n;
  }
  return done;
}

/** pwrite(2) until every byte is written at `offset`. */
export function pwriteAll(fd: number, bytes: Uint8Array, offset: number): void {
  let done = 0;
  while (done < bytes.length) {
    const rest = bytes.subarray(done);
    done += checkSize(
      sys.pwrite(fd, rest as BufferSource, BigInt(rest.length), BigInt(offset + done)),
      errno[0],
      "pwrite",
    );
  }
}

/** fsync(2): data and metadata of a file, or the entries of a folder. */
export function fsync(fd: number, path: BytePath = ""): void {
  check(sys.fsync(fd), errno[0], "fsync", path);
}

/** fdatasync(2). */
export function fdatasync(fd: number, path: BytePath = ""): void {
  check(sys.fdatasync(fd), errno[0], "fdatasync", path);
}

const SYNC_FILE_RANGE_WRITE = 2;

/**
 * sync_file_range(2): begins to write what a file has in memory, and waits for nothing, so
 * that a later fsync finds little left. Only a matter of speed: failing is no error.
 */
export function startWriteback(fd: number): void {
  sys.sync_file_range?.(fd, 0n, 0n, SYNC_FILE_RANGE_WRITE);
}

/** syncfs(2): everything on the file system that `fd` is on. */
export function syncfs(fd: number, path: BytePath = ""): void {
  check(sys.syncfs(fd), errno[0], "syncfs", path);
}

/** fsync of a folder by path: makes renames and new entries in it durable. */
export function fsyncFolder(path: BytePath): void {
  withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => fsync(fd, path));
}

/** ftruncate(2). */
export function ftruncate(fd: number, sizeBytes: number): void {
  check(sys.ftruncate(fd, BigInt(sizeBytes)), errno[0], "ftruncate");
}

/**
 * fallocate(2).
 * @param mode 0 allocates; 1 keeps the size; 3 punches a hole
 */
export function fallocate(
  fd: number,
  mode: number,
  offset: number,
  length: number,
): void {
  check(sys.fallocate(fd, mode, BigInt(offset), BigInt(length)), errno[0], "fallocate");
}

export const POSIX_FADV_RANDOM = 1;
export const POSIX_FADV_SEQUENTIAL = 2;
export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;

/** posix_fadvise(2). `length` 0 means to the end. */
export function fadvise(
  fd: number,
  offset: number,
  length: number,
  advice: number,
): void {
  const number = sys.posix_fadvise(fd, BigInt(offset), BigInt(length), advice);
  if (number !== 0) throw new SysError("posix_fadvise", "", number);
}

/** renameat2(2). @param flags RENAME_NOREPLACE or RENAME_EXCHANGE */
export function renameAt(
  oldDirFd: number,
  oldPath: BytePath,
  newDirFd: number,
  newPath: BytePath,
  flags = 0,
): void {
  const from = shortLived(oldPath), to = shortLived(newPath, 1);
  check(
    sys.renameat2(oldDirFd, from, newDirFd, to, flags),
    errno[0],
    "renameat2",
    `${printable(oldPath)} -> ${printable(newPath)}`,
  );
}

/** {@link renameAt} relative to the working directory. */
export function rename(oldPath: BytePath, newPath: BytePath, flags = 0): void {
  renameAt(AT_FDCWD, oldPath, AT_FDCWD, newPath, flags);
}

/** linkat(2) without following a link. */
export function linkAt(
  oldDirFd: number,
  oldPath: BytePath,
  newDirFd: number,
  newPath: BytePath,
): void {
  const from = shortLived(oldPath), to = shortLived(newPath, 1);
  check(sys.linkat(oldDirFd, from, newDirFd, to, 0), errno[0], "linkat", newPath);
}

/** symlinkat(2). */
export function symlinkAt(target: BytePath, dirFd: number, path: BytePath): void {
  const to = shortLived(target, 1), name = shortLived(path);
  check(sys.symlinkat(to, dirFd, name), errno[0], "symlinkat", path);
}

/** readlinkat(2): the target's bytes. */
export function readlinkAt(dirFd: number, path: BytePath): Uint8Array<ArrayBuffer> {
  const name = shortLived(path);
  const into = new Uint8Array(4096);
  const n = checkSize(
    sys.readlinkat(dirFd, name, into, 4096n),
    errno[0],
    "readlinkat",
    path,
  );
  return into.slice(0, n);
}

/** unlinkat(2). @param flags AT_REMOVEDIR removes an empty folder */
export function unlinkAt(dirFd: number, path: BytePath, flags = 0): void {
  const name = shortLived(path);
  check(sys.unlinkat(dirFd, name, flags), errno[0], "unlinkat", path);
}

/** mkdirat(2). */
export function mkdirAt(dirFd: number, path: BytePath, mode: number): void {
  const name = shortLived(path);
  check(sys.mkdirat(dirFd, name, mode), errno[0], "mkdirat", path);
}

/** fchmod(2). */
export function fchmod(fd: number, mode: number): void {
  check(sys.fchmod(fd, mode), errno[0], "fchmod");
}

/** fchownat(2) without following a link. */
export function chownAt(dirFd: number, path: BytePath, uid: number, gid: number): void {
  const name = shortLived(path);
  check(
    sys.fchownat(dirFd, name, uid, gid, AT_SYMLINK_NOFOLLOW),
    errno[0],
    "fchownat",
    path,
  );
}

/** A time as the kernel has it. */
export interface Timespec {
  readonly seconds: bigint;
  readonly nanoseconds: number;
}

const twoTimes = new BigInt64Array(4);

/** struct timespec[2], valid until the next use. */
export function timePair(atime: Timespec, mtime: Timespec): BigInt64Array<ArrayBuffer> {
  twoTimes[0] = atime.seconds;
  twoTimes[1] = BigInt(atime.nanoseconds);
  twoTimes[2] = mtime.seconds;
  twoTimes[3] = BigInt(mtime.nanoseconds);
  return twoTimes;
}

/** utimensat(2) without following a link. */
export function utimesAt(
  dirFd: number,
  path: BytePath,
  atime: Timespec,
  mtime: Timespec,
): void {
  const name = shortLived(path), times = timePair(atime, mtime);
  check(
    sys.utimensat(dirFd, name, times, AT_SYMLINK_NOFOLLOW),
    errno[0],
    "utimensat",
    path,
  );
}

/**
 * Times of what a descriptor is of, one of O_PATH too, which futimens(3) does not take.
 * @param fd this process's own; its entry in /proc is followed
 */
export function utimesOf(fd: number, atime: Timespec, mtime: Timespec): void {
  const name = shortLived(`/proc/self/fd/${fd}`), times = timePair(atime, mtime);
  check(sys.utimensat(AT_FDCWD, name, times, 0), errno[0], "utimensat");
}

/** pipe2(2) with O_CLOEXEC. */
export function pipe(): { readFd: number; writeFd: number } {
  const fds = new Int32Array(2);
  check(sys.pipe2(fds, O_CLOEXEC), errno[0], "pipe2");
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/** memfd_create(2). @throws {SysError} ENOSYS where libc has no such function */
export function memfdCreate(name: string): number {
  if (sys.memfd_create === null) throw new SysError("memfd_create", name, 38);
  return check(sys.memfd_create(cString(name), 1), errno[0], "memfd_create", name);
}

/** umask(2): sets the file-creation mask, returns the previous one. */
export function umask(mask: number): number {
  return sys.umask(mask);
}

/** geteuid(2). */
export function effectiveUid(): number {
  return sys.geteuid();
}
