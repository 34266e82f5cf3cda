/**
 * Loop devices by ioctl: an image file as a block device, without losetup.
 *
 * Source: Linux `include/uapi/linux/loop.h`; LOOP_CONFIGURE is there since kernel 5.8.
 */
import { isSysError, SysError } from "./errno.ts";
import { close, O_RDONLY, O_RDWR, open, withFd } from "./files.ts";
import { ioctl } from "./ioctl.ts";

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CLR_FD = 0x4c01;
const LOOP_GET_STATUS64 = 0x4c05;

/** `struct loop_config`: fd@0 block_size@4 info@8 (`struct loop_info64`, 232 bytes). */
const LOOP_CONFIG_BYTES = 304;
const INFO_BYTES = 232;
const INFO_AT = 8;
const FLAGS_AT = INFO_AT + 52;
const FILE_NAME_AT = INFO_AT + 56;
const FILE_NAME_BYTES = 64;
/** The kernel frees the device when its last user (the mount) goes. */
const LO_FLAGS_AUTOCLEAR = 4;

/** Two processes may be given the same free device; the loser asks again this often. */
const MAX_TRIES = 16;

/** An attached loop device. */
export interface LoopDevice {
  /** `/dev/loop3` */
  readonly path: string;
  /** Held open: the device detaches when this is closed, unless it is mounted. */
  readonly fd: number;
}

/**
 * Attaches an image to a free loop device, with autoclear: mount it, then close `fd`.
 *
 * @param image path of the image file
 * @throws {SysError} ENOENT without /dev/loop-control; EACCES or EPERM when not root;
 *   EBUSY when no device could be had
 */
export function attachLoop(image: string): LoopDevice {
  return withFd(open(image, O_RDWR), (imageFd) => {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const number = withFd(
        open("/dev/loop-control", O_RDWR),
        (fd) => ioctl(fd, LOOP_CTL_GET_FREE, null, "get a free loop device"),
      );
      const path = `/dev/loop${number}`, fd = open(path, O_RDWR);
      try {
        configure(fd, imageFd, image, path);
        return { path, fd };
      } catch (error) {
        close(fd);
        if (!isSysError(error, "EBUSY")) throw error;
      }
    }
    throw new SysError("attach loop device", image, 16);
  });
}

function configure(fd: number, imageFd: number, image: string, path: string): void {
  const raw = new Uint8Array(LOOP_CONFIG_BYTES);
  const view = new DataView(raw.buffer);
  view.setUint32(0, imageFd, true);
  view.setUint32(FLAGS_AT, LO_FLAGS_AUTOCLEAR, true);
  const name = new TextEncoder().encode(image).subarray(0, FILE_NAME_BYTES - 1);
  raw.set(name, FILE_NAME_AT);
  ioctl(fd, LOOP_CONFIGURE, raw, "configure loop device", path);
}

/** Detaches a device that is not mounted. @throws {SysError} ENXIO when it is free */
export function detachLoop(path: string): void {
  withFd(
    open(path, O_RDONLY),
    (fd) => ioctl(fd, LOOP_CLR_FD, null, "detach loop device", path),
  );
}

/** Device and inode of the file behind a loop device; null when it is free. */
export function loopBackingFile(path: string): { dev: bigint; ino: bigint } | null {
  const raw = new Uint8Array(INFO_BYTES);
  const view = new DataView(raw.buffer);
  try {
    withFd(
      open(path, O_RDONLY),
      (fd) => ioctl(fd, LOOP_GET_STATUS64, raw, "loop status", path),
    );
  } catch (error) {
    if (isSysError(error, "ENXIO")) return null;
    throw error;
  }
  return { dev: view.getBigUint64(0, true), ino: view.getBigUint64(8, true) };
}
