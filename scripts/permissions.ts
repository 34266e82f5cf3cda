/**
 * The Deno permissions that op-dbus runs with, each with its reason; scripts/compile.ts
 * builds them into the executable. They are a guard rail against mistakes in libraries,
 * not a boundary: whoever may call into libc may do what the process may do. The boundary
 * is the user the program runs as, and the unit file of the daemon.
 */
export interface Permission {
  readonly flag: string;
  readonly reason: string;
}

export const PERMISSIONS: readonly Permission[] = [
  {
    flag: "--allow-ffi",
    // Not scoped: a scope by bare name would load a library planted in the working
    // folder; ffi/ itself opens libraries by absolute path only.
    reason: "btrfs ioctls, openat2, renameat2, mmap, flock, CPU and memory policy",
  },
  {
    flag: "--allow-read",
    reason: "the root, state files, models, packages: wherever the user says they are",
  },
  {
    flag: "--allow-write",
    reason: "the root, and output files wherever the user wants them",
  },
  {
    flag: "--allow-env",
    reason: "OPDBUS_* settings, NO_COLOR, TERM, HF_TOKEN, DBUS_*_BUS_ADDRESS, proxies; " +
      "the settings are looked up in a copy of all of it",
  },
  {
    flag: "--allow-net",
    reason: "the D-Bus socket, downloads of packages and models, `serve`",
  },
  {
    flag: "--allow-sys=uid",
    reason: "D-Bus authentication, and what only root may delete",
  },
  {
    flag:
      "--allow-run=/usr/sbin/mkfs.btrfs,/sbin/mkfs.btrfs,/usr/bin/mkfs.btrfs,/bin/mkfs.btrfs,/usr/local/sbin/mkfs.btrfs,ssh",
    reason:
      "`init --loopback` formats its image, `snapshot send` goes over ssh; nothing " +
      "else is ever started but a new op-dbus by `self update`, which libc does",
  },
];

/** The flags alone. */
export function permissionFlags(): string[] {
  return PERMISSIONS.map(({ flag }) => flag);
}
