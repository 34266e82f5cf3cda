/**
 * Where memory lies: each NUMA node, what of it is this process's, and which of that are
 * vectors. Source: Documentation/filesystems/proc.rst (numa_maps), node meminfo.
 */
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";

const NODES = "/sys/devices/system/node";
const MAPS = "/proc/self/numa_maps";
/** A process with very many mappings has a long file. */
const MAPS_LIMIT_BYTES = 16 * 1024 * 1024;
/** Looking costs a walk over the process's pages. */
const FRESH_MS = 2_000;

/** One node. */
export interface NodePicture {
  readonly node: number;
  /** As the kernel lists them: `0-3,8`. */
  readonly cpus: string;
  readonly total_bytes: number;
  readonly free_bytes: number;
  /** The page cache there, of all files. */
  readonly file_bytes: number;
  /** Pages that this process has mapped there. */
  readonly own_pages: number;
  /** Of those, compacted vectors. */
  readonly vector_bytes: number;
  /** The rest of those. */
  readonly own_bytes: number;
}

/** This process's memory on one node. */
export interface OwnMemory {
  pages: number;
  vectorBytes: number;
  otherBytes: number;
}

let fresh: { readonly atMs: number; readonly nodes: NodePicture[] } | null = null;

/** Nodes, their CPUs and memory, at most two seconds old; none on a kernel without NUMA. */
export function numaPicture(): NodePicture[] {
  const now = performance.now();
  if (fresh && now - fresh.atMs < FRESH_MS) return fresh.nodes;
  fresh = { atMs: now, nodes: look() };
  return fresh.nodes;
}

function look(): NodePicture[] {
  let names: string[];
  try {
    names = listFolder(NODES).map(({ name }) => new TextDecoder().decode(name));
  } catch (error) {
    if (isSysError(error, "ENOENT", "EACCES")) return [];
    throw error;
  }
  const own = ownMemory(read(MAPS, MAPS_LIMIT_BYTES));
  return names.filter((name) => /^node\d+$/.test(name))
    .map((name) => Number(name.slice(4))).sort((a, b) => a - b)
    .map((node) => {
      const memory = read(`${NODES}/node${node}/meminfo`);
      const bytes = (key: string) =>
        Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(memory)?.[1] ?? 0) * 1024;
      const mine = own.get(node);
      return {
        node,
        cpus: read(`${NODES}/node${node}/cpulist`).trim(),
        total_bytes: bytes("MemTotal"),
        free_bytes: bytes("MemFree"),
        file_bytes: bytes("FilePages"),
        own_pages: mine?.pages ?? 0,
        vector_bytes: mine?.vectorBytes ?? 0,
        own_bytes: mine?.otherBytes ?? 0,
      };
    });
}

function read(path: string, limitBytes?: number): string {
  try {
    return readTextFile(path, limitBytes);
  } catch (error) {
    // No NUMA, /proc hidden, too many mappings: nothing is known, nothing is wrong.
    if (isSysError(error, "ENOENT", "EACCES", "EPERM", "EFBIG")) return "";
    throw error;
  }
}

/** This process's pages by node, from the text of `numa_maps`. */
export function ownMemory(text: string): Map<number, OwnMemory> {
  const nodes = new Map<number, OwnMemory>();
  for (const line of text.split("\n")) {
    const pageBytes = Number(/ kernelpagesize_kB=(\d+)/.exec(line)?.[1] ?? 4) * 1024;
    const isVectors = / file=\S*\/pack-\d+\.pack/.test(line);
    for (const [, number, count] of line.matchAll(/ N(\d+)=(\d+)/g)) {
      const node = Number(number), pages = Number(count);
      const sum = nodes.get(node) ?? { pages: 0, vectorBytes: 0, otherBytes: 0 };
      sum.pages += pages;
      sum[isVectors ? "vectorBytes" : "otherBytes"] += pages * pageBytes;
      nodes.set(node, sum);
    }
  }
  return nodes;
}
