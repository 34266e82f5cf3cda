/**
 * The btrfs send stream format, versions 1 and 2, as constants and one table: which
 * attributes each command must and may carry.
 *
 * Source: kernel `fs/btrfs/send.h`; btrfs-progs `Documentation/dev/dev-send-stream.rst`.
 */

/** The first 13 bytes of every stream, followed by the version as a u32. */
export const STREAM_MAGIC: Readonly<Uint8Array> = new TextEncoder().encode(
  "btrfs-stream\0",
);
/** Magic and version. */
export const STREAM_HEADER_BYTES = 17;
/** Length u32, command u16, crc u32. */
export const COMMAND_HEADER_BYTES = 10;
/** The newest version that is read; 3 (fs-verity) is refused. */
export const MAX_STREAM_VERSION = 2;

/** Command numbers (`enum btrfs_send_cmd`). */
export const CMD = {
  subvol: 1,
  snapshot: 2,
  mkfile: 3,
  mkdir: 4,
  mknod: 5,
  mkfifo: 6,
  mksock: 7,
  symlink: 8,
  rename: 9,
  link: 10,
  unlink: 11,
  rmdir: 12,
  set_xattr: 13,
  remove_xattr: 14,
  write: 15,
  clone: 16,
  truncate: 17,
  chmod: 18,
  chown: 19,
  utimes: 20,
  end: 21,
  update_extent: 22,
  fallocate: 23,
  fileattr: 24,
  encoded_write: 25,
} as const;

export type CommandName = keyof typeof CMD;

/** Attribute numbers (`enum` of `BTRFS_SEND_A_*`). */
export const ATTR = {
  uuid: 1,
  ctransid: 2,
  ino: 3,
  size: 4,
  mode: 5,
  uid: 6,
  gid: 7,
  rdev: 8,
  ctime: 9,
  mtime: 10,
  atime: 11,
  otime: 12,
  xattr_name: 13,
  xattr_data: 14,
  path: 15,
  path_to: 16,
  path_link: 17,
  file_offset: 18,
  data: 19,
  clone_uuid: 20,
  clone_ctransid: 21,
  clone_path: 22,
  clone_offset: 23,
  clone_len: 24,
  fallocate_mode: 25,
  fileattr: 26,
  unencoded_file_len: 27,
  unencoded_len: 28,
  unencoded_offset: 29,
  compression: 30,
  encryption: 31,
} as const;

export type AttributeName = keyof typeof ATTR;

/** One more than the highest attribute number. */
export const ATTR_COUNT = 32;

/** Attribute names by number, for messages. */
export const ATTR_NAMES: readonly (AttributeName | undefined)[] = (() => {
  const names: (AttributeName | undefined)[] = new Array(ATTR_COUNT).fill(undefined);
  for (const [name, number] of Object.entries(ATTR)) {
    names[number] = name as AttributeName;
  }
  return names;
})();

const UUID_BYTES = 16;
const TIME_BYTES = 12;

/** Exact size of each fixed attribute in bytes; the others are of any length. */
export const ATTR_BYTES: readonly (number | undefined)[] = (() => {
  const sizes: (number | undefined)[] = new Array(ATTR_COUNT).fill(undefined);
  const set = (size: number, ...names: AttributeName[]) =>
    names.forEach((name) => sizes[ATTR[name]] = size);
  set(UUID_BYTES, "uuid", "clone_uuid");
  set(TIME_BYTES, "atime", "mtime", "ctime", "otime");
  set(4, "compression", "encryption", "fallocate_mode");
  set(8, "ctransid", "ino", "size", "mode", "uid", "gid", "rdev", "file_offset");
  set(8, "clone_ctransid", "clone_offset", "clone_len", "fileattr");
  set(8, "unencoded_file_len", "unencoded_len", "unencoded_offset");
  return sizes;
})();

/** What a command carries. */
export interface CommandShape {
  readonly name: CommandName;
  /** Bit set of attributes that must be there. */
  readonly required: number;
  /** Bit set of attributes that may be there; includes the required ones. */
  readonly allowed: number;
  /** First stream version that has the command. */
  readonly version: number;
}

function mask(names: readonly AttributeName[]): number {
  return names.reduce((bits, name) => (bits | (1 << ATTR[name])) >>> 0, 0);
}

const NODE: AttributeName[] = ["path", "ino"];
const SPECIAL: AttributeName[] = ["path", "ino", "rdev", "mode"];

const SHAPES: readonly [
  CommandName,
  AttributeName[],
  (AttributeName[] | undefined)?,
  number?,
][] = [
  ["subvol", ["path", "uuid", "ctransid"]],
  ["snapshot", ["path", "uuid", "ctransid", "clone_uuid", "clone_ctransid"]],
  ["mkfile", ["path"], NODE],
  ["mkdir", ["path"], NODE],
  ["mknod", ["path", "rdev", "mode"], SPECIAL],
  ["mkfifo", ["path"], SPECIAL],
  ["mksock", ["path"], SPECIAL],
  ["symlink", ["path", "path_link"], [...NODE, "path_link"]],
  ["rename", ["path", "path_to"]],
  ["link", ["path", "path_link"]],
  ["unlink", ["path"]],
  ["rmdir", ["path"]],
  ["set_xattr", ["path", "xattr_name", "xattr_data"]],
  ["remove_xattr", ["path", "xattr_name"]],
  ["write", ["path", "file_offset", "data"]],
  ["clone", [
    "path",
    "file_offset",
    "clone_len",
    "clone_uuid",
    "clone_ctransid",
    "clone_path",
    "clone_offset",
  ]],
  ["truncate", ["path", "size"]],
  ["chmod", ["path", "mode"]],
  ["chown", ["path", "uid", "gid"]],
  ["utimes", ["path", "atime", "mtime", "ctime"], [
    "path",
    "atime",
    "mtime",
    "ctime",
    "otime",
  ]],
  ["end", []],
  ["update_extent", ["path", "file_offset", "size"]],
  ["fallocate", ["path", "fallocate_mode", "file_offset", "size"], undefined, 2],
  ["fileattr", ["path", "fileattr"], undefined, 2],
  ["encoded_write", [
    "path",
    "file_offset",
    "unencoded_file_len",
    "unencoded_len",
    "unencoded_offset",
    "data",
  ], [
    "path",
    "file_offset",
    "unencoded_file_len",
    "unencoded_len",
    "unencoded_offset",
    "compression",
    "encryption",
    "data",
  ], 2],
];

/** Shapes by command number; a hole is an unknown command. */
export const COMMAND_SHAPES: readonly (CommandShape | undefined)[] = (() => {
  const shapes: (CommandShape | undefined)[] = [];
  for (const [name, required, allowed, version] of SHAPES) {
    shapes[CMD[name]] = {
      name,
      required: mask(required),
      allowed: mask(allowed ?? required),
      version: version ?? 1,
    };
  }
  return shapes;
})();

/** The largest piece of one extent that is compressed: 128 KiB (`BTRFS_MAX_COMPRESSED`). */
export const MAX_UNENCODED_BYTES = 128 * 1024;

/** `BTRFS_ENCODED_IO_COMPRESSION_*`. */
export const COMPRESSION = {
  none: 0,
  zlib: 1,
  zstd: 2,
  lzo_4k: 3,
  lzo_8k: 4,
  lzo_16k: 5,
  lzo_32k: 6,
  lzo_64k: 7,
} as const;
