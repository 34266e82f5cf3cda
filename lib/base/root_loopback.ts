/**
 * `init --loopback`: a btrfs in an image file, mounted on the root. Only mkfs.btrfs is
 * needed, and only once; loop device and mount are system calls.
 */
import { isSysError } from "../../ffi/errno.ts";
import {
  close,
  fallocate,
  fsync,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  open,
  pread,
  unlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { mount } from "../../ffi/mount.ts";
import { AT_FDCWD, fsyncFolder, rename, RENAME_NOREPLACE } from "../../ffi/files.ts";
import { attachLoop } from "../../ffi/loop.ts";
import { fstat, isRegular, statAt, statfs } from "../../ffi/stat.ts";
import { listFolder } from "../../ffi/directory.ts";
import { temporaryBeside } from "./durable.ts";
import { asOpError, InputError, OpError } from "./errors.ts";
import { isMountPoint } from "./mounts.ts";
import { makeFolders, nearestExisting, rootKind } from "./root.ts";
import { formatSize } from "./units.ts";

/** mkfs.btrfs makes no smaller file system, mixed or not. */
const MIN_IMAGE_BYTES = 110 * 1024 * 1024;
/** Where the superblock's magic is, and what it reads. */
const SUPER_MAGIC_AT = 0x10040;
const SUPER_MAGIC = "_BHRfS_M";
const MOUNT_OPTIONS = "compress=zstd";
/** MS_NOSUID, MS_NODEV, MS_NOATIME of mount(2), and their names for fstab. */
const MOUNT_FLAGS = 2n | 4n | 1024n;
const MOUNT_FLAG_NAMES = "nosuid,nodev,noatime";

/** Folders that mkfs.btrfs is looked for in: never the working directory. */
const TOOL_FOLDERS = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];

/** How to make and mount an image. */
export interface LoopbackOptions {
  /** Where it is mounted. */
  readonly root: string;
  /** Size of a new image, in bytes. */
  readonly sizeBytes: number;
  /** The image file; default `<root>.btrfs`. */
  readonly image?: string;
}

/** What was done. */
export interface LoopbackResult {
  readonly image: string;
  /** The image was made and formatted now. */
  readonly formatted: boolean;
  /** It was mounted now. */
  readonly mounted: boolean;
  /** The loop device it was mounted from now. */
  readonly device: string | null;
  /** The line for /etc/fstab that mounts it at every start. */
  readonly fstab: string;
}

/**
 * Makes the image where it is missing, formats it, and mounts it on the root. An image that
 * is btrfs already is mounted as it is; any other file is refused. Run again on a mounted
 * root, it does nothing.
 *
 * @throws {OpError} `no_mkfs` without mkfs.btrfs; `foreign_image`; `foreign_root` when the
 *   root holds files that the mount would hide; `permission_denied` when not root
 */
export async function mountLoopback(options: LoopbackOptions): Promise<LoopbackResult> {
  const { root } = options, image = options.image ?? `${root}.btrfs`;
  const fstab =
    `${image} ${root} btrfs loop,${MOUNT_FLAG_NAMES},${MOUNT_OPTIONS},nofail 0 0`;
  if (rootKind(root) === "btrfs" || isMountPoint(root)) {
    return { image, formatted: false, mounted: false, device: null, fstab };
  }
  refuseHiding(root);
  const formatted = !existsAsBtrfs(image);
  if (formatted) await makeImage(image, options.sizeBytes);
  makeFolders(root);
  return { image, formatted, mounted: true, device: mountImage(image, root), fstab };
}

function refuseHiding(root: string): void {
  let count: number;
  try {
    count = listFolder(root).length;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return;
    throw asOpError(error, `Cannot look into ${root}`);
  }
  if (count === 0) return;
  throw new InputError(
    "foreign_root",
    `Cannot mount on ${root}: it holds ${count} entries that the mount would hide`,
    { hint: "choose an empty folder with --root; nothing was changed" },
  );
}

function existsAsBtrfs(image: string): boolean {
  const magic = new Uint8Array(SUPER_MAGIC.length);
  try {
    withFd(open(image, O_RDONLY), (fd) => {
      if (!isRegular(fstat(fd, image))) throw foreign(image, "it is not a file");
      pread(fd, magic, SUPER_MAGIC_AT);
    });
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw asOpError(error, `Cannot read the image ${image}`);
  }
  if (new TextDecoder().decode(magic) === SUPER_MAGIC) return true;
  throw foreign(image, "it exists and is not btrfs");
}

function foreign(image: string, why: string): InputError {
  return new InputError("foreign_image", `Cannot use the image ${image}: ${why}`, {
    hint: "name another file with --image; nothing was changed",
  });
}

/** Makes the image under a temporary name, so that a half-made one is never mounted. */
async function makeImage(image: string, sizeBytes: number): Promise<void> {
  if (sizeBytes < MIN_IMAGE_BYTES) {
    throw new InputError(
      "image_too_small",
      `Cannot make ${image}: btrfs needs ${formatSize(MIN_IMAGE_BYTES)} at least, ` +
        `${formatSize(sizeBytes)} were asked for`,
      { hint: "give a larger size, such as --loopback 2G" },
    );
  }
  const tool = findMkfs(), folder = image.slice(0, image.lastIndexOf("/")) || "/";
  requireSpace(folder, sizeBytes);
  makeFolders(folder);
  const temporary = temporaryBeside(image);
  try {
    allocate(temporary, sizeBytes);
    await format(tool, temporary, image);
    withFd(open(temporary, O_RDWR), (fd) => fsync(fd, temporary));
    rename(temporary, image, RENAME_NOREPLACE);
    fsyncFolder(folder);
  } catch (error) {
    removeQuietly(temporary);
    throw asOpError(error, `Cannot make the image ${image}`);
  }
}

function requireSpace(folder: string, sizeBytes: number): void {
  const { availableBytes } = statfs(nearestExisting(folder));
  if (availableBytes >= sizeBytes) return;
  throw new OpError(
    "no_space",
    `Cannot make an image of ${formatSize(sizeBytes)} in ${folder}: ` +
      `only ${formatSize(availableBytes)} are free`,
    { hint: "give a smaller size, or another place with --image" },
  );
}

/** Reserves the space: an image that outgrows its disk later loses data. */
function allocate(path: string, sizeBytes: number): void {
  const fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    fallocate(fd, 0, 0, sizeBytes);
  } finally {
    close(fd);
  }
}

async function format(tool: string, path: string, image: string): Promise<void> {
  const run = await new Deno.Command(tool, {
    args: ["-q", "-L", "op-dbus", path],
    stdin: "null",
    clearEnv: true,
  }).output();
  if (run.success) return;
  const reason = new TextDecoder().decode(run.stderr).trim().split("\n").at(-1);
  throw new OpError("mkfs_failed", `Cannot format ${image}: mkfs.btrfs: ${reason}`, {
    hint: "try a larger size",
  });
}

function removeQuietly(path: string): void {
  try {
    unlinkAt(AT_FDCWD, path);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
}

/**
 * mkfs.btrfs by absolute path.
 * @throws {OpError} `no_mkfs`
 */
export function findMkfs(): string {
  for (const folder of TOOL_FOLDERS) {
    const path = `${folder}/mkfs.btrfs`;
    try {
      statAt(AT_FDCWD, path, true);
      return path;
    } catch (error) {
      if (!isSysError(error, "ENOENT", "ENOTDIR", "EACCES")) throw error;
    }
  }
  throw new OpError("no_mkfs", "Cannot make a btrfs image: mkfs.btrfs is not installed", {
    hint: "install it (Debian, Ubuntu: apt-get install btrfs-progs); only init needs it",
  });
}

function mountImage(image: string, root: string): string {
  try {
    const device = attachLoop(image);
    try {
      mount(device.path, root, "btrfs", MOUNT_FLAGS, MOUNT_OPTIONS);
    } finally {
      close(device.fd); // the mount keeps the device; without one it detaches
    }
    return device.path;
  } catch (error) {
    throw asOpError(error, `Cannot mount ${image} on ${root}`);
  }
}
