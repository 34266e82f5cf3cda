/** What a plugin needs of the host, and what of that is missing. */
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isRegular, statAt } from "../../ffi/stat.ts";
import { OpError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { Manifest } from "./manifest_schema.ts";
import type { Mapping } from "./mapping_model.ts";
import { inRange, kernelVersion } from "./versions.ts";

/** What can be asked of a host. */
export interface Host {
  hasCommand(name: string): boolean;
  /** Running or activatable on a bus; `unknown` says why the bus could not be asked. */
  hasBusName(name: string, bus: string): Promise<boolean | { readonly unknown: string }>;
  /** As uname(2) says: `6.1.0-18-amd64`. */
  kernelRelease(): string;
  isProxmox(): boolean;
}

/** What a plugin needs and this host does not have; one line each. */
export interface Lacking {
  readonly missing: readonly string[];
  /** What may be there or not. */
  readonly unknown: readonly string[];
}

/** Where services that a bus starts on demand are listed, beneath each of these. */
const DBUS_FOLDERS = [
  "/usr/share/dbus-1",
  "/usr/local/share/dbus-1",
  "/etc/dbus-1",
  "/run/dbus-1",
];
const SERVICE_FOLDER: Readonly<Record<string, string>> = {
  system: "system-services",
  session: "services",
};
const COMMAND_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/** How to look at a host. */
export interface HostOptions {
  /** Another root folder than `/`, e.g. of a chroot, whose buses nobody can ask. */
  readonly prefix?: string;
  /** Names on a bus: {@link namesOnBus} unless a test says otherwise. */
  readonly askBus?: (bus: string) => Promise<ReadonlySet<string>>;
}

/**
 * This host. Its buses are asked only for names that no file lists, and each once.
 */
export function thisHost(options: HostOptions = {}): Host {
  const { prefix = "", askBus = namesOnBus } = options;
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((p) => p.startsWith("/"));
  const folders = [...new Set([...path, ...COMMAND_FOLDERS, "/sbin", "/bin"])];
  const asked = new Map<string, Promise<ReadonlySet<string>>>();
  const isListed = (name: string, bus: string) =>
    Object.hasOwn(SERVICE_FOLDER, bus) &&
    DBUS_FOLDERS.some((folder) =>
      exists(`${prefix}${folder}/${SERVICE_FOLDER[bus]}/${name}.service`)
    );
  return {
    hasCommand: (name) =>
      folders.some((folder) => isProgram(`${prefix}${folder}/${name}`)),
    async hasBusName(name, bus) {
      if (isListed(name, bus)) return true;
      if (prefix !== "") return { unknown: `no bus runs in ${prefix}` };
      const names = asked.get(bus) ?? askBus(bus);
      asked.set(bus, names);
      try {
        return (await names).has(name);
      } catch (error) {
        if (!(error instanceof OpError)) throw error;
        return { unknown: error.message };
      }
    },
    kernelRelease: () => readTextFile("/proc/sys/kernel/osrelease").trim(),
    isProxmox: () =>
      exists(`${prefix}/etc/pve`) || exists(`${prefix}/usr/bin/pveversion`),
  };
}

const BUS_PATIENCE_MS = 5_000;

/**
 * The names that have an owner on a bus, or can be started on it.
 *
 * @param where `system`, `session`, or an address
 * @throws {OpError} when the bus cannot be reached, or does not answer in time
 */
export async function namesOnBus(where: string): Promise<ReadonlySet<string>> {
  const { Bus } = await import("../dbus/bus.ts");
  await using bus = await Bus.connect(where, { timeoutMs: BUS_PATIENCE_MS });
  const lists = await Promise.all([
    bus.driver("ListNames"),
    bus.driver("ListActivatableNames"),
  ]);
  return new Set(lists.flat().filter((name) => typeof name === "string"));
}

/** What a plugin needs of its host; a name is looked for on the bus of its mapping. */
export async function lackingRequirements(
  manifest: Manifest,
  mapping: Mapping | null,
  host: Host,
): Promise<Lacking> {
  const { commands = [], dbus = [], kernel, op_dbus } = manifest.requires;
  const missing: string[] = [], unknown: string[] = [];
  if (manifest.requires_proxmox && !host.isProxmox()) missing.push("Proxmox VE");
  for (const name of commands) {
    if (!host.hasCommand(name)) missing.push(`command ${name}`);
  }
  for (const name of dbus) {
    const service = mapping?.service;
    const has = await host.hasBusName(
      name,
      service?.name === name ? service.bus : "system",
    );
    if (has === true) continue;
    const line = `D-Bus service ${name}`;
    if (has === false) missing.push(line);
    else unknown.push(`${line} (${has.unknown})`);
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
  return { missing, unknown };
}

/** How a host is checked before a version becomes live on it. */
export interface HostCheck {
  readonly host: Host;
  /** Go on though the host lacks something. */
  readonly ignoreRequirements?: boolean;
  /** Told what may be there or not, one line each. */
  readonly note: (line: string) => void;
}

/** A version that is to become live, as far as its needs go. */
export interface NeedyVersion {
  readonly name: string;
  readonly version: string;
  /** Null where it has none that can be read: it names no needs. */
  readonly manifest: Manifest | null;
  readonly mapping: Mapping | null;
}

/**
 * Checks what versions need of the host; what cannot be known is told.
 *
 * @throws {OpError} `missing_requirements`
 */
export async function requireHost(
  versions: readonly NeedyVersion[],
  { host, ignoreRequirements, note }: HostCheck,
): Promise<void> {
  if (ignoreRequirements) return;
  const lines: string[] = [];
  for (const { name, version, manifest, mapping } of versions) {
    if (!manifest) continue;
    const { missing, unknown } = await lackingRequirements(manifest, mapping, host);
    if (missing.length > 0) lines.push(`${name}@${version} needs ${missing.join(", ")}`);
    for (const line of unknown) {
      note(`${name}@${version} needs something that may not be here: ${line}`);
    }
  }
  if (lines.length === 0) return;
  throw new OpError(
    "missing_requirements",
    `This host lacks something: ${lines.join("; ")}`,
    { hint: "install what is missing, or go on without it: --ignore-requirements" },
  );
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
