/**
 * The machine as the kernel describes it in /sys and /proc: nodes, CPUs, memory,
 * distances, which CPUs share an L3, and what of it this process may use.
 *
 * Source: Documentation/ABI/stable/sysfs-devices-node, sysfs-devices-system-cpu,
 * Documentation/admin-guide/cgroup-v2.rst.
 */
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { parseList } from "./cpu_list.ts";

/** One NUMA node. */
export interface NumaNode {
  readonly id: number;
  /** Online CPUs; none on a node that only has memory (CXL, HBM). */
  readonly cpus: readonly number[];
  /** 0 on a node without memory. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** SLIT distance to each node of {@link Topology.nodes}, in their order; 10 is local. */
  readonly distances: readonly number[];
}

/** CPUs that share a last-level cache. */
export interface CacheGroup {
  readonly cpus: readonly number[];
  readonly sizeBytes: number;
  readonly level: number;
}

/** Kinds of core where the machine has two. */
export interface HybridCores {
  readonly performance: readonly number[];
  readonly efficiency: readonly number[];
}

/** What limits this process. */
export interface Limits {
  /** CPUs that the scheduler may use for it (cpuset, taskset). */
  readonly cpus: readonly number[];
  /** Nodes that it may take memory from. */
  readonly nodes: readonly number[];
  /** CPU time per second of a cgroup's quota, in CPUs; null for no quota. */
  readonly cpuQuota: number | null;
  /** Memory of a cgroup; null for no limit. */
  readonly memoryBytes: number | null;
}

/** The machine. */
export interface Topology {
  readonly nodes: readonly NumaNode[];
  readonly onlineCpus: readonly number[];
  readonly offlineCpus: readonly number[];
  readonly cacheGroups: readonly CacheGroup[];
  readonly hybrid: HybridCores | null;
  readonly limits: Limits;
}

/** Where to read; other folders in tests. */
export interface TopologySources {
  readonly sys?: string;
  readonly proc?: string;
}

const KIB = 1024;
const CGROUP_DEPTH_LIMIT = 64;

/** Reads the machine's topology. A kernel without NUMA comes out as one node. */
export function readTopology(sources: TopologySources = {}): Topology {
  const sys = sources.sys ?? "/sys", proc = sources.proc ?? "/proc";
  const cpu = `${sys}/devices/system/cpu`;
  const onlineCpus = list(`${cpu}/online`) ?? [0];
  const offlineCpus = list(`${cpu}/offline`) ?? [];
  const nodes = readNodes(`${sys}/devices/system/node`, proc, onlineCpus);
  return {
    nodes,
    onlineCpus,
    offlineCpus: offlineCpus.filter((n) => !onlineCpus.includes(n)),
    cacheGroups: readCacheGroups(cpu, onlineCpus),
    hybrid: readHybrid(sys),
    limits: readLimits(sys, proc, onlineCpus, nodes),
  };
}

/** A file's text without its newline; null where there is no such file. */
function text(path: string): string | null {
  try {
    return readTextFile(path).trim();
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR", "EACCES", "ENODEV")) return null;
    throw error;
  }
}

function list(path: string): number[] | null {
  const found = text(path);
  return found === null ? null : parseList(found);
}

function readNodes(folder: string, proc: string, online: readonly number[]): NumaNode[] {
  const ids = list(`${folder}/online`);
  if (ids === null || ids.length === 0) {
    const { totalBytes, freeBytes } = memory(text(`${proc}/meminfo`) ?? "");
    return [{ id: 0, cpus: online, totalBytes, freeBytes, distances: [10] }];
  }
  return ids.map((id) => {
    const cpus = list(`${folder}/node${id}/cpulist`) ?? [];
    const distances = (text(`${folder}/node${id}/distance`) ?? "10").split(/\s+/)
      .map(Number);
    return {
      id,
      cpus: cpus.filter((n) => online.includes(n)),
      ...memory(text(`${folder}/node${id}/meminfo`) ?? ""),
      distances: ids.map((_, i) => distances[i] ?? (ids[i] === id ? 10 : 20)),
    };
  });
}

/** MemTotal and MemFree of a meminfo, the machine's or a node's. */
function memory(meminfo: string): { totalBytes: number; freeBytes: number } {
  const field = (name: string) =>
    Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(meminfo)?.[1] ?? 0) * KIB;
  return { totalBytes: field("MemTotal"), freeBytes: field("MemFree") };
}

/** Groups by the highest cache level that the CPUs have; level 3 where there is one. */
function readCacheGroups(folder: string, online: readonly number[]): CacheGroup[] {
  const groups = new Map<string, CacheGroup>();
  for (const cpu of online) {
    let best: { level: number; shared: string; size: string } | null = null;
    const cache = `${folder}/cpu${cpu}/cache`;
    for (const index of indexes(cache)) {
      const level = Number(text(`${cache}/${index}/level`) ?? 0);
      const shared = text(`${cache}/${index}/shared_cpu_list`);
      if (shared === null || level <= (best?.level ?? 0)) continue;
      best = { level, shared, size: text(`${cache}/${index}/size`) ?? "0K" };
    }
    if (!best || groups.has(best.shared)) continue;
    groups.set(best.shared, {
      cpus: parseList(best.shared).filter((n) => online.includes(n)),
      sizeBytes: parseSize(best.size),
      level: best.level,
    });
  }
  return [...groups.values()];
}

function indexes(folder: string): string[] {
  try {
    const decoder = new TextDecoder();
    return listFolder(folder).map(({ name }) => decoder.decode(name))
      .filter((name) => /^index\d+$/.test(name)).sort();
  } catch (error) {
    if (isSysError(error, "ENOENT", "EACCES", "ENOTDIR")) return [];
    throw error;
  }
}

function parseSize(size: string): number {
  const match = /^(\d+)([KMG]?)$/.exec(size);
  const factor = { "": 1, K: KIB, M: KIB ** 2, G: KIB ** 3 }[match?.[2] ?? ""] ?? 1;
  return Number(match?.[1] ?? 0) * factor;
}

/** Intel tells its kinds of core apart as two PMUs. */
function readHybrid(sys: string): HybridCores | null {
  const performance = list(`${sys}/devices/cpu_core/cpus`);
  const efficiency = list(`${sys}/devices/cpu_atom/cpus`);
  return performance && efficiency ? { performance, efficiency } : null;
}

function readLimits(
  sys: string,
  proc: string,
  online: readonly number[],
  nodes: readonly NumaNode[],
): Limits {
  const status = text(`${proc}/self/status`) ?? "";
  const allowed = (name: string) => {
    const found = new RegExp(`^${name}:\\s*(\\S+)$`, "m").exec(status)?.[1];
    return found === undefined ? null : parseList(found);
  };
  const cpus = allowed("Cpus_allowed_list")?.filter((n) => online.includes(n));
  const ids = nodes.map(({ id }) => id);
  const mems = allowed("Mems_allowed_list")?.filter((n) => ids.includes(n));
  return {
    cpus: cpus?.length ? cpus : online,
    nodes: mems?.length ? mems : ids,
    ...readCgroup(sys, proc),
  };
}

/** The tightest limits from this process's cgroup (v2) up to the root. */
function readCgroup(
  sys: string,
  proc: string,
): { cpuQuota: number | null; memoryBytes: number | null } {
  let cpuQuota: number | null = null, memoryBytes: number | null = null;
  const own = /^0::(\/.*)$/m.exec(text(`${proc}/self/cgroup`) ?? "")?.[1] ?? "/";
  const parts = own.split("/").filter((part) => part !== "" && part !== "..");
  for (let depth = Math.min(parts.length, CGROUP_DEPTH_LIMIT); depth >= 0; depth--) {
    const folder = [`${sys}/fs/cgroup`, ...parts.slice(0, depth)].join("/");
    const [quota, period] = (text(`${folder}/cpu.max`) ?? "max").split(" ");
    if (quota !== "max") cpuQuota = least(cpuQuota, Number(quota) / Number(period));
    const memory = text(`${folder}/memory.max`);
    if (memory !== null && memory !== "max") {
      memoryBytes = least(memoryBytes, Number(memory));
    }
  }
  return { cpuQuota, memoryBytes };
}

function least(known: number | null, value: number): number | null {
  return Number.isFinite(value) ? Math.min(known ?? value, value) : known;
}

/** The node that a CPU belongs to; null for a CPU of none. */
export function nodeOfCpu(topology: Topology, cpu: number): NumaNode | null {
  return topology.nodes.find(({ cpus }) => cpus.includes(cpu)) ?? null;
}
