/** This machine's own figures: memory latency and bandwidth, between every two nodes. */
import { getAffinity, setAffinity } from "../../ffi/affinity.ts";
import { MADV_HUGEPAGE, Mapping } from "../../ffi/memory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { placeMapping } from "./apply.ts";
import type { Topology } from "./topology.ts";

/** What one CPU's node sees of another node's memory. */
export interface NodePair {
  readonly cpuNode: number;
  readonly memoryNode: number;
  /** Time of one load that depends on the one before. */
  readonly latencyNs: number;
  /** Bytes copied per second, reads and writes counted once. */
  readonly copyBytesPerSecond: number;
}

/** Latency of loads within a working set. */
export interface WorkingSet {
  readonly sizeBytes: number;
  readonly latencyNs: number;
}

const LINE_BYTES = 64;
const LINE_INTS = LINE_BYTES / 4;
/** Loads per measurement; the fastest of ROUNDS counts, the others were disturbed. */
const LOADS = 2_000_000;
const ROUNDS = 3;
const MIB = 1024 * 1024;
/** Larger than most last-level caches, small enough for any machine. */
const FAR_BYTES = 256 * MIB, COPY_BYTES = 64 * MIB;
const SETS_BYTES = [16 * 1024, 256 * 1024, 4 * MIB, 16 * MIB, FAR_BYTES];

/** Latency and bandwidth of every pair of a node with CPUs and a node with memory. */
export function measureNodePairs(topology: Topology): NodePair[] {
  const { limits } = topology;
  const before = getAffinity();
  const pairs: NodePair[] = [];
  try {
    for (const from of topology.nodes) {
      const cpu = from.cpus.find((one) => limits.cpus.includes(one));
      if (cpu === undefined) continue;
      setAffinity([cpu]);
      for (const to of topology.nodes) {
        if (to.totalBytes === 0 || !limits.nodes.includes(to.id)) continue;
        pairs.push({ cpuNode: from.id, memoryNode: to.id, ...measureMemory(to.id) });
      }
    }
  } finally {
    setAffinity(before);
  }
  return pairs;
}

function measureMemory(node: number) {
  const latencyNs = withMemory(FAR_BYTES, node, (ints) => chaseNs(ints));
  const copyBytesPerSecond = withMemory(2 * COPY_BYTES, node, (ints) => {
    const half = ints.length / 2;
    const best = fastest(() => ints.copyWithin(half, 0, half));
    return COPY_BYTES / (best / 1000);
  });
  return { latencyNs, copyBytesPerSecond };
}

/** Latency by working set: the steps are the caches. */
export function measureWorkingSets(): WorkingSet[] {
  return SETS_BYTES.map((sizeBytes) => ({
    sizeBytes,
    latencyNs: withMemory(sizeBytes, null, chaseNs),
  }));
}

/** What staying within one shared cache is worth. */
export interface PinningEffect {
  /** Within CPUs that share a cache, and driven from one such group to another. */
  readonly pinnedNs: number;
  readonly movedNs: number;
}

/**
 * Latency in a working set that fits the last-level cache, on one CPU and while moving
 * between CPUs of different caches. Null where all CPUs share one.
 */
export function measurePinning(topology: Topology): PinningEffect | null {
  const groups = topology.cacheGroups
    .map(({ cpus, sizeBytes }) => ({
      cpu: cpus.find((one) => topology.limits.cpus.includes(one)),
      sizeBytes,
    }))
    .filter(({ cpu }) => cpu !== undefined);
  if (groups.length < 2) return null;
  const before = getAffinity();
  const size = Math.max(MIB, Math.min(FAR_BYTES, groups[0]!.sizeBytes / 4));
  const hops = 64;
  try {
    return withMemory(size, null, (ints) => {
      const run = (move: boolean) =>
        fastest(() => {
          for (let hop = 0; hop < hops; hop++) {
            setAffinity([groups[move ? hop % groups.length : 0]!.cpu!]);
            chase(ints, LOADS / hops);
          }
        }) * 1e6 / LOADS;
      return { pinnedNs: run(false), movedNs: run(true) };
    });
  } finally {
    setAffinity(before);
  }
}

function withMemory<T>(
  sizeBytes: number,
  node: number | null,
  body: (ints: Int32Array) => T,
): T {
  using mapping = Mapping.anonymous(sizeBytes);
  try {
    // Small pages would measure the TLB instead of the memory.
    mapping.advise(MADV_HUGEPAGE);
  } catch (error) {
    if (!isSysError(error, "EINVAL")) throw error;
  }
  if (node !== null) {
    placeMapping(mapping, { nodes: [node], policy: "bind", cpus: [], reason: "" });
  }
  const ints = new Int32Array(mapping.buffer);
  link(ints);
  return body(ints);
}

/**
 * Links the cache lines into one cycle in random order, so that nothing can guess the
 * next one (Sattolo's algorithm over the lines).
 */
function link(ints: Int32Array): void {
  const lines = ints.length / LINE_INTS;
  for (let line = 0; line < lines; line++) ints[line * LINE_INTS] = line;
  let state = 0x2545f491;
  for (let line = lines - 1; line > 0; line--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor(state / 2 ** 32 * line);
    const a = line * LINE_INTS, b = other * LINE_INTS;
    [ints[a], ints[b]] = [ints[b]!, ints[a]!];
  }
}

function chase(ints: Int32Array, loads: number): number {
  let line = 0;
  for (let i = 0; i < loads; i++) line = ints[line * LINE_INTS]!;
  return line;
}

function chaseNs(ints: Int32Array): number {
  return fastest(() => chase(ints, LOADS)) * 1e6 / LOADS;
}

/** Milliseconds of the fastest of a few runs. */
function fastest(body: () => unknown): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    body();
    best = Math.min(best, performance.now() - begun);
  }
  return best;
}
