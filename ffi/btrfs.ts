/**
 * btrfs subvolumes by ioctl: what `btrfs subvolume` does, without btrfs-progs.
 *
 * Every function throws {@link SysError}; ENOTTY means that the file system is not btrfs.
 * Source: Linux `include/uapi/linux/btrfs.h`, `fs/btrfs/ioctl.c`.
 */
import { SysError } from "./errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, withFd } from "./files.ts";
import { ioctl } from "./ioctl.ts";
import { type BytePath, printable } from "./libc.ts";
import {
  BTRFS_REQUEST as REQUEST,
  FIRST_FREE_OBJECTID,
  FS_INFO_BYTES,
  MAX_NAME_BYTES,
  RECEIVED_BYTES,
  SUBVOL_INFO_BYTES,
  SUBVOL_RDONLY,
  SUBVOL_SPEC_BY_ID,
  VOL_ARGS_V2,
  VOL_ARGS_V2_BYTES,
} from "./btrfs_requests.ts";
import { BTRFS_SUPER_MAGIC, fstat, fstatfs, isFolder } from "./stat.ts";

/** Opens a folder for the calls below; not through a link in its last component. */
export function openFolder(path: BytePath): number {
  return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/** True when an open file lies on btrfs. */
export function isBtrfs(fd: number): boolean {
  return fstatfs(fd).magic === BTRFS_SUPER_MAGIC;
}

/** True when an open file is the root folder of a subvolume (the top level is one). */
export function isSubvolume(fd: number): boolean {
  const stat = fstat(fd);
  return stat.ino === FIRST_FREE_OBJECTID && isFolder(stat) && isBtrfs(fd);
}

function volArgs(name: BytePath, fd = 0, flags = 0): Uint8Array<ArrayBuffer> {
  const bytes = typeof name === "string" ? new TextEncoder().encode(name) : name;
  if (bytes.length === 0 || bytes.includes(0) || bytes.includes(0x2f)) {
    throw new SysError("subvolume name", printable(name), 22); // EINVAL
  }
  if (bytes.length > MAX_NAME_BYTES) {
    throw new SysError("subvolume name", printable(name), 36); // ENAMETOOLONG
  }
  const raw = new Uint8Array(VOL_ARGS_V2_BYTES);
  const view = new DataView(raw.buffer);
  view.setBigInt64(VOL_ARGS_V2.fd, BigInt(fd), true);
  view.setBigUint64(VOL_ARGS_V2.flags, BigInt(flags), true);
  raw.set(bytes, VOL_ARGS_V2.name);
  return raw;
}

/**
 * Makes an empty subvolume. Lost in a crash until the folder is fsynced.
 *
 * @param folderFd the folder it goes into
 * @param name its name there; no slash
 * @throws {SysError} EEXIST, ENOSPC, EROFS, ENOTTY
 */
export function createSubvolume(folderFd: number, name: BytePath): void {
  ioctl(folderFd, REQUEST.SUBVOL_CREATE_V2, volArgs(name), "btrfs create", name);
}

/**
 * Makes a snapshot. The kernel commits the source with it.
 *
 * @param sourceFd the root folder of the subvolume
 * @param folderFd the folder that the snapshot goes into, on the same file system
 * @param name its name there
 * @param readOnly makes it read-only
 * @throws {SysError} EEXIST, EXDEV on another file system, EINVAL when the source is no
 *   subvolume, EPERM when it is another user's
 */
export function createSnapshot(
  sourceFd: number,
  folderFd: number,
  name: BytePath,
  readOnly: boolean,
): void {
  const args = volArgs(name, sourceFd, readOnly ? SUBVOL_RDONLY : 0);
  ioctl(folderFd, REQUEST.SNAP_CREATE_V2, args, "btrfs snapshot", name);
}

/**
 * Deletes a subvolume and all that is in it. The name is gone at once, the space later.
 *
 * @throws {SysError} ENOENT; ENOTEMPTY when it holds nested subvolumes; EPERM when not
 *   root or while it is being sent; EINVAL when it is no subvolume
 */
export function deleteSubvolume(folderFd: number, name: BytePath): void {
  ioctl(folderFd, REQUEST.SNAP_DESTROY_V2, volArgs(name), "btrfs delete", name);
}

/**
 * {@link deleteSubvolume} by number, wherever it is: immune to a swapped name.
 *
 * @param anyFd any folder of the file system
 */
export function deleteSubvolumeById(anyFd: number, id: bigint): void {
  const raw = new Uint8Array(VOL_ARGS_V2_BYTES);
  const view = new DataView(raw.buffer);
  view.setBigUint64(VOL_ARGS_V2.flags, BigInt(SUBVOL_SPEC_BY_ID), true);
  view.setBigUint64(VOL_ARGS_V2.name, id, true);
  ioctl(anyFd, REQUEST.SNAP_DESTROY_V2, raw, "btrfs delete", `subvolume ${id}`);
}

function flagsOf(fd: number): bigint {
  const raw = new DataView(new ArrayBuffer(8));
  ioctl(fd, REQUEST.SUBVOL_GETFLAGS, raw, "btrfs get flags");
  return raw.getBigUint64(0, true);
}

/** True when a subvolume is read-only. @throws {SysError} EINVAL when it is none */
export function isReadOnly(fd: number): boolean {
  return (flagsOf(fd) & BigInt(SUBVOL_RDONLY)) !== 0n;
}

/** Sets or clears read-only. @throws {SysError} EPERM while it is being sent */
export function setReadOnly(fd: number, readOnly: boolean): void {
  const flag = BigInt(SUBVOL_RDONLY), now = flagsOf(fd);
  const raw = new DataView(new ArrayBuffer(8));
  raw.setBigUint64(0, readOnly ? now | flag : now & ~flag, true);
  ioctl(fd, REQUEST.SUBVOL_SETFLAGS, raw, "btrfs set flags");
}

/** A time of the kernel in milliseconds since 1970, fraction kept. */
export type KernelTimeMs = number;

/** What GET_SUBVOL_INFO tells. UUIDs are 36 characters; null where all zero. */
export interface SubvolumeInfo {
  readonly id: bigint;
  readonly name: string;
  /** The subvolume that this one lies in. */
  readonly parentId: bigint;
  readonly dirId: bigint;
  readonly generation: bigint;
  readonly readOnly: boolean;
  readonly uuid: string;
  /** The subvolume that this is a snapshot of. */
  readonly parentUuid: string | null;
  /** The sender's subvolume that this was received from. */
  readonly receivedUuid: string | null;
  readonly ctransid: bigint;
  readonly otransid: bigint;
  readonly stransid: bigint;
  readonly rtransid: bigint;
  readonly ctimeMs: KernelTimeMs;
  /** When it was made. */
  readonly otimeMs: KernelTimeMs;
  readonly stimeMs: KernelTimeMs;
  readonly rtimeMs: KernelTimeMs;
}

/** Bit of `flags` in GET_SUBVOL_INFO (BTRFS_ROOT_SUBVOL_RDONLY); not SUBVOL_RDONLY. */
const ROOT_SUBVOL_RDONLY = 1n;

const infoArgs = new Uint8Array(SUBVOL_INFO_BYTES);
const infoView = new DataView(infoArgs.buffer);

/**
 * Identity, parentage and times of the subvolume that an open file lies in. Needs no root.
 *
 * @throws {SysError} ENOTTY off btrfs and before kernel 4.18
 */
export function subvolumeInfo(fd: number, path: BytePath = ""): SubvolumeInfo {
  infoArgs.fill(0);
  ioctl(fd, REQUEST.GET_SUBVOL_INFO, infoArgs, "btrfs info", path);
  const u64 = (at: number) => infoView.getBigUint64(at, true);
  const time = (at: number) =>
    Number(u64(at)) * 1000 + infoView.getUint32(at + 8, true) / 1e6;
  const nameEnd = infoArgs.indexOf(0, 8);
  return {
    id: u64(0),
    name: new TextDecoder().decode(infoArgs.subarray(8, Math.min(nameEnd, 264))),
    parentId: u64(264),
    dirId: u64(272),
    generation: u64(280),
    readOnly: (u64(288) & ROOT_SUBVOL_RDONLY) !== 0n,
    uuid: formatUuid(infoArgs.subarray(296, 312)) ?? "",
    parentUuid: formatUuid(infoArgs.subarray(312, 328)),
    receivedUuid: formatUuid(infoArgs.subarray(328, 344)),
    ctransid: u64(344),
    otransid: u64(352),
    stransid: u64(360),
    rtransid: u64(368),
    ctimeMs: time(376),
    otimeMs: time(392),
    stimeMs: time(408),
    rtimeMs: time(424),
  };
}

/** {@link subvolumeInfo} of a path. */
export function subvolumeInfoAt(path: BytePath): SubvolumeInfo {
  return withFd(openFolder(path), (fd) => subvolumeInfo(fd, path));
}

/** A UUID of 16 bytes as text; null when all are zero. */
export function formatUuid(bytes: Uint8Array): string | null {
  let hex = "";
  for (let i = 0; i < 16; i++) hex += HEX[bytes[i]!]!;
  if (hex === ZERO_HEX) return null;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${
    hex.slice(16, 20)
  }-${hex.slice(20)}`;
}

const ZERO_HEX = "0".repeat(32);
const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

/** The 16 bytes of a UUID. @throws {TypeError} when it is none */
export function parseUuid(uuid: string): Uint8Array<ArrayBuffer> {
  const hex = uuid.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new TypeError(`Not a UUID: ${uuid}`);
  return Uint8Array.from(
    { length: 16 },
    (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

/**
 * Marks a subvolume as received (BTRFS_IOC_SET_RECEIVED_SUBVOL); the caller has synced the
 * file system before, else a crash leaves a marked subvolume with wrong content.
 *
 * @param fd a writable subvolume's root folder
 * @param uuid the sender's UUID
 * @param stransid the sender's ctransid
 * @returns this side's transaction
 * @throws {SysError} EROFS on a read-only one
 */
export function setReceived(fd: number, uuid: string, stransid: bigint): bigint {
  const raw = new Uint8Array(RECEIVED_BYTES);
  const view = new DataView(raw.buffer);
  raw.set(parseUuid(uuid), 0);
  view.setBigUint64(16, stransid, true);
  ioctl(fd, REQUEST.SET_RECEIVED_SUBVOL, raw, "btrfs set received");
  return view.getBigUint64(24, true);
}

/** Commits everything on the file system (BTRFS_IOC_SYNC). */
export function syncFileSystem(fd: number, path: BytePath = ""): void {
  ioctl(fd, REQUEST.SYNC, null, "btrfs sync", path);
}

/** What FS_INFO tells. */
export interface BtrfsInfo {
  readonly fsid: string;
  readonly devices: number;
  readonly nodeSizeBytes: number;
  readonly sectorSizeBytes: number;
}

/** Identity and geometry of the file system that an open file is on. */
export function fileSystemInfo(fd: number): BtrfsInfo {
  const raw = new Uint8Array(FS_INFO_BYTES);
  const view = new DataView(raw.buffer);
  ioctl(fd, REQUEST.FS_INFO, raw, "btrfs file system info");
  return {
    devices: Number(view.getBigUint64(8, true)),
    fsid: formatUuid(raw.subarray(16, 32)) ?? "",
    nodeSizeBytes: view.getUint32(32, true),
    sectorSizeBytes: view.getUint32(36, true),
  };
}
