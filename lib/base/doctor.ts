/**
 * What `op-dbus doctor` finds out about this machine. Each fact says what was found, how
 * good it is, and what to do. Other rooms add facts of their own; the command line joins
 * them.
 */
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, effectiveUid } from "../../ffi/files.ts";
import { LibraryMissingError, openSystemLibrary } from "../../ffi/library.ts";
import { S_IFMT, S_IFSOCK, statAt, statfs } from "../../ffi/stat.ts";
import { asOpError, OpError } from "./errors.ts";
import { mountOf } from "./mounts.ts";
import { fileSystemName, nearestExisting, rootKind } from "./root.ts";
import { findMkfs } from "./root_loopback.ts";
import { formatSize } from "./units.ts";

/** `ok`: nothing to do. `warn`: works with less. `fail`: something will not work. */
export type DoctorLevel = "ok" | "warn" | "fail";

/** One fact. */
export interface DoctorFact {
  /** Stable, for programs: `kernel`, `mount`. */
  readonly name: string;
  readonly level: DoctorLevel;
  /** What was found, one line. */
  readonly found: string;
  /** What to do about it; empty when `ok`. */
  readonly hint: string;
}

/** What the facts depend on. */
export interface DoctorOptions {
  readonly root: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** GET_SUBVOL_ROOTREF needs 4.18, LOOP_CONFIGURE 5.8, openat2 5.6. */
const KERNEL_NEEDED = [5, 8] as const;
const SPACE_LOW_BYTES = 512 * 1024 * 1024;
/** btrfs starts to fail in odd ways when nearly full. */
const SPACE_LOW_SHARE = 0.05;

/** Looks at this machine. Never throws: what cannot be found out is a fact too. */
export function machineFacts(options: DoctorOptions): DoctorFact[] {
  const facts:
    readonly (readonly [name: string, look: () => Omit<DoctorFact, "name">])[] = [
      ["user", user],
      ["kernel", kernel],
      ["btrfs", btrfs],
      ["root", () => root(options.root)],
      ["mount", () => mount(options.root)],
      ["space", () => space(options.root)],
      ["loop", loop],
      ["mkfs", mkfs],
      ["libnuma", libnuma],
      ["dbus", () => dbus(options.env ?? {})],
    ];
  return facts.map(([name, look]) => {
    try {
      return { name, ...look() };
    } catch (error) {
      const { message, hint } = asOpError(error);
      return { name, level: "warn", found: message, hint: hint ?? "" };
    }
  });
}

function ok(found: string) {
  return { level: "ok", found, hint: "" } as const;
}
function warn(found: string, hint: string) {
  return { level: "warn", found, hint } as const;
}
function fail(found: string, hint: string) {
  return { level: "fail", found, hint } as const;
}

function user() {
  const uid = effectiveUid();
  if (uid === 0) return ok("root");
  return warn(
    `uid ${uid}, not root`,
    "snapshots of others' files, sending and deleting snapshots need root",
  );
}

function kernel() {
  const release = readTextFile("/proc/sys/kernel/osrelease").trim();
  const [major = 0, minor = 0] = release.split(".").map((part) => parseInt(part, 10));
  const [needMajor, needMinor] = KERNEL_NEEDED;
  const enough = major > needMajor || (major === needMajor && minor >= needMinor);
  const found = `Linux ${release} ${Deno.build.arch}`;
  return enough
    ? ok(found)
    : fail(found, `use kernel ${needMajor}.${needMinor} or newer`);
}

function btrfs() {
  const known = readTextFile("/proc/filesystems").split("\n")
    .some((line) => line.trim() === "btrfs");
  return known ? ok("in the kernel") : warn(
    "not in the kernel (yet)",
    "modprobe btrfs; without it only plain roots work (op-dbus init --plain)",
  );
}

function root(path: string) {
  const kind = rootKind(path);
  if (kind === "btrfs") return ok(`${path}, btrfs subvolumes`);
  if (kind === "plain") {
    return warn(`${path}, plain folders`, "no snapshots here; they need a btrfs root");
  }
  return warn(`${path} is not initialised`, `op-dbus init --root ${path}`);
}

function mount(path: string) {
  const name = fileSystemName(path), there = nearestExisting(path);
  const found = mountOf(realPath(there));
  const options = found?.options.join(",") ?? "unknown options";
  const text = `${name} on ${found?.target ?? there} (${options})`;
  if (name !== "btrfs") {
    return warn(text, "make a btrfs image with: op-dbus init --loopback 2G");
  }
  if (found?.options.includes("ro")) return fail(text, "remount it writable");
  const noCow = found?.options.find((o) => o === "nodatacow" || o === "nodatasum");
  if (noCow) return warn(text, `without ${noCow} files are checked and compressed`);
  return ok(text);
}

function realPath(path: string): string {
  return Deno.realPathSync(path);
}

function space(path: string) {
  const { availableBytes, totalBytes } = statfs(nearestExisting(path));
  const found = `${formatSize(availableBytes)} free of ${formatSize(totalBytes)}`;
  const low = availableBytes < SPACE_LOW_BYTES ||
    availableBytes < totalBytes * SPACE_LOW_SHARE;
  return low
    ? warn(found, "free some: op-dbus cache clean, op-dbus snapshot prune")
    : ok(found);
}

function loop() {
  if (exists("/dev/loop-control")) return ok("/dev/loop-control");
  return warn("no /dev/loop-control", "modprobe loop; init --loopback needs it");
}

function mkfs() {
  try {
    return ok(findMkfs());
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    return warn("no mkfs.btrfs", error.hint ?? "");
  }
}

function libnuma() {
  try {
    openSystemLibrary("libnuma.so.1", {}).close();
    return ok("libnuma.so.1");
  } catch (error) {
    if (!(error instanceof LibraryMissingError)) throw error;
    return ok("not installed; placement uses system calls instead");
  }
}

const SYSTEM_BUS = "/run/dbus/system_bus_socket";

function dbus(env: Readonly<Record<string, string | undefined>>) {
  const address = env.DBUS_SYSTEM_BUS_ADDRESS;
  const path = /^unix:path=([^,;]+)/.exec(address ?? "")?.[1] ?? SYSTEM_BUS;
  if (address && !address.startsWith("unix:path=")) return ok(address);
  if (exists(path) && (statAt(AT_FDCWD, path, true).mode & S_IFMT) === S_IFSOCK) {
    return ok(path);
  }
  return warn(
    `no socket at ${path}`,
    "plugins, query and apply need D-Bus: install dbus",
  );
}

function exists(path: string): boolean {
  try {
    statAt(AT_FDCWD, path, true);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}
