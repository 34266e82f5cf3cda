/**
 * btrfs ioctl requests and the sizes of their structs.
 *
 * Source: Linux `include/uapi/linux/btrfs.h`. The numbers are made by the generic encoding
 * (ffi/ioctl.ts) and are the same on x86_64 and aarch64; a test compares them with a table
 * per architecture.
 */
import { IO, IOR, IOW, IOWR } from "./ioctl.ts";

const BTRFS = 0x94;

/** `struct btrfs_ioctl_vol_args_v2`: fd@0 transid@8 flags@16 name or subvolid@56. */
export const VOL_ARGS_V2_BYTES = 4096;
export const VOL_ARGS_V2 = { fd: 0, flags: 16, name: 56 } as const;
/** BTRFS_SUBVOL_NAME_MAX is 4039, but no directory entry is over 255. */
export const MAX_NAME_BYTES = 255;

export const SUBVOL_INFO_BYTES = 504;
export const ROOTREF_BYTES = 4096;
export const INO_LOOKUP_BYTES = 4096;
export const RECEIVED_BYTES = 200;
export const SEARCH_HEAD_BYTES = 112;
export const FS_INFO_BYTES = 1024;

export const BTRFS_REQUEST = {
  SYNC: IO(BTRFS, 8),
  SNAP_CREATE_V2: IOW(BTRFS, 23, VOL_ARGS_V2_BYTES),
  SUBVOL_CREATE_V2: IOW(BTRFS, 24, VOL_ARGS_V2_BYTES),
  SUBVOL_GETFLAGS: IOR(BTRFS, 25, 8),
  SUBVOL_SETFLAGS: IOW(BTRFS, 26, 8),
  START_SYNC: IOR(BTRFS, 24, 8),
  WAIT_SYNC: IOW(BTRFS, 22, 8),
  TREE_SEARCH_V2: IOWR(BTRFS, 17, SEARCH_HEAD_BYTES),
  INO_LOOKUP: IOWR(BTRFS, 18, INO_LOOKUP_BYTES),
  FS_INFO: IOR(BTRFS, 31, FS_INFO_BYTES),
  SET_RECEIVED_SUBVOL: IOWR(BTRFS, 37, RECEIVED_BYTES),
  GET_SUBVOL_INFO: IOR(BTRFS, 60, SUBVOL_INFO_BYTES),
  GET_SUBVOL_ROOTREF: IOWR(BTRFS, 61, ROOTREF_BYTES),
  INO_LOOKUP_USER: IOWR(BTRFS, 62, INO_LOOKUP_BYTES),
  SNAP_DESTROY_V2: IOW(BTRFS, 63, VOL_ARGS_V2_BYTES),
} as const;

/** BTRFS_SUBVOL_RDONLY: for SNAP_CREATE_V2 and SUBVOL_GETFLAGS/SETFLAGS. */
export const SUBVOL_RDONLY = 2;
/** BTRFS_SUBVOL_SPEC_BY_ID: for SNAP_DESTROY_V2. */
export const SUBVOL_SPEC_BY_ID = 16;
/** Inode of a subvolume's root folder (BTRFS_FIRST_FREE_OBJECTID). */
export const FIRST_FREE_OBJECTID = 256n;
/** Inode of what is left of a nested subvolume in a snapshot. */
export const EMPTY_SUBVOL_DIR_OBJECTID = 2n;
