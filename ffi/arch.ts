/**
 * What differs between the two architectures op-dbus runs on: syscall numbers without a
 * libc wrapper, the layout of `struct stat`, and a few open(2) flags.
 *
 * Source: Linux `arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/`.
 */

/** Everything in ffi/ that is not the same number on every architecture. */
export interface Arch {
  /** Folder name that Debian's multiarch puts libraries in. */
  readonly multiarch: string;
  readonly syscall: {
    readonly openat2: number;
    readonly fchmodat2: number;
    readonly mbind: number;
    readonly set_mempolicy: number;
    readonly get_mempolicy: number;
    readonly move_pages: number;
    readonly cachestat: number;
    readonly preadv2: number;
    readonly pwritev2: number;
    readonly gettid: number;
  };
  /** Byte offsets into `struct stat` as the kernel and glibc 64-bit lay it out. */
  readonly stat: {
    readonly sizeBytes: number;
    readonly mode: number;
    readonly nlink: number;
    readonly uid: number;
    readonly gid: number;
    readonly rdev: number;
    readonly size: number;
    readonly blocks: number;
    readonly mtime: number;
    readonly ctime: number;
  };
  readonly O_DIRECTORY: number;
  readonly O_NOFOLLOW: number;
  readonly O_DIRECT: number;
}

const x86_64: Arch = {
  multiarch: "x86_64-linux-gnu",
  syscall: {
    openat2: 437,
    fchmodat2: 452,
    mbind: 237,
    set_mempolicy: 238,
    get_mempolicy: 239,
    move_pages: 279,
    cachestat: 451,
    preadv2: 327,
    pwritev2: 328,
    gettid: 186,
  },
  stat: {
    sizeBytes: 144,
    nlink: 16,
    mode: 24,
    uid: 28,
    gid: 32,
    rdev: 40,
    size: 48,
    blocks: 64,
    mtime: 88,
    ctime: 104,
  },
  O_DIRECTORY: 0o200000,
  O_NOFOLLOW: 0o400000,
  O_DIRECT: 0o40000,
};

const aarch64: Arch = {
  multiarch: "aarch64-linux-gnu",
  syscall: {
    openat2: 437,
    fchmodat2: 452,
    mbind: 235,
    set_mempolicy: 237,
    get_mempolicy: 236,
    move_pages: 239,
    cachestat: 451,
    preadv2: 286,
    pwritev2: 287,
    gettid: 178,
  },
  stat: {
    sizeBytes: 128,
    mode: 16,
    nlink: 20,
    uid: 24,
    gid: 28,
    rdev: 32,
    size: 48,
    blocks: 64,
    mtime: 88,
    ctime: 104,
  },
  O_DIRECTORY: 0o40000,
  O_NOFOLLOW: 0o100000,
  O_DIRECT: 0o200000,
};

/** The table of each architecture, for tests; use {@link arch} for this machine's. */
export const archTables: Readonly<Record<string, Arch>> = { x86_64, aarch64 };

/** The table of the machine this runs on. Throws on an unsupported architecture. */
export const arch: Arch = archTables[Deno.build.arch] ?? unsupported();

function unsupported(): never {
  throw new Error(
    `Unsupported architecture ${Deno.build.arch}: op-dbus runs on x86_64 and aarch64 Linux`,
  );
}
