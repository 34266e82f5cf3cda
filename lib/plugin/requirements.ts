/** What a plugin needs of the host, and what of that is missing. */
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isRegular, statAt } from "../../ffi/stat.ts";
import { VERSION } from "../base/version.ts";
import type { Manifest } from "./manifest_schema.ts";
import { inRange, kernelVersion } from "./versions.ts";

/** What can be asked of a host. */
export interface Host {
  hasCommand(name: string): boolean;
  /** Running, or activatable. */
  hasBusName(name: string): boolean;
  /** As uname(2) says: `6.1.0-18-amd64`. */
  kernelRelease(): string;
  isProxmox(): boolean;
}

const BUS_SERVICE_FOLDERS = [
  "/usr/share/dbus-1/system-services",
  "/usr/local/share/dbus-1/system-services",
  "/etc/dbus-1/system-services",
  "/run/dbus-1/system-services",
];
const COMMAND_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/**
 * This host, as its files say.
 *
 * @param busNames names that own a connection now, where a bus was asked
 * @param prefix another root folder than `/`, e.g. of a chroot
 */
export function thisHost(busNames: readonly string[] = [], prefix = ""): Host {
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((p) => p.startsWith("/"));
  const folders = [...new Set([...path, ...COMMAND_FOLDERS, "/sbin", "/bin"])];
  return {
    hasCommand: (name) =>
      folders.some((folder) => isProgram(`${prefix}${folder}/${name}`)),
    hasBusName: (name) =>
      busNames.includes(name) ||
      BUS_SERVICE_FOLDERS.some((folder) => exists(`${prefix}${folder}/${name}.service`)),
    kernelRelease: () => readTextFile("/proc/sys/kernel/osrelease").trim(),
    isProxmox: () =>
      exists(`${prefix}/etc/pve`) || exists(`${prefix}/usr/bin/pveversion`),
  };
}

/**
 * What is missing on the host, one line each; empty where the plugin can run.
 */
export function missingRequirements(manifest: Manifest, host: Host): string[] {
  const { commands = [], dbus = [], kernel, op_dbus } = manifest.requires;
  const missing: string[] = [];
  if (manifest.requires_proxmox && !host.isProxmox()) missing.push("Proxmox VE");
  for (const name of commands) {
    if (!host.hasCommand(name)) missing.push(`command ${name}`);
  }
  for (const name of dbus) {
    if (!host.hasBusName(name)) missing.push(`D-Bus service ${name}`);
  }
  if (kernel !== undefined) {
    const release = host.kernelRelease(), version = kernelVersion(release);
    if (version === null || !inRange(version, kernel)) {
      missing.push(`kernel ${kernel} (this is ${release})`);
    }
  }
  if (op_dbus !== undefined && !inRange(VERSION, op_dbus)) {
    missing.push(`op-dbus ${op_dbus} (this is ${VERSION})`);
  }
  return missing;
}

function isProgram(path: string): boolean {
  try {
    const stat = statAt(AT_FDCWD, path, true);
    return isRegular(stat) && (stat.mode & 0o111) !== 0;
  } catch (error) {
    return absent(error);
  }
}

function exists(path: string): boolean {
  try {
    statAt(AT_FDCWD, path, true);
    return true;
  } catch (error) {
    return absent(error);
  }
}

function absent(error: unknown): false {
  if (isSysError(error, "ENOENT", "ENOTDIR", "EACCES", "ELOOP", "ENAMETOOLONG")) {
    return false;
  }
  throw error;
}
