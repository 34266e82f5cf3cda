/** op-dbus doctor --measure: this machine's own figures. */
import { formatSize } from "../base/units.ts";
import type { Context } from "./context.ts";
import { table } from "./table.ts";

/** The figures, for programs and for people. */
export interface Measured {
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: readonly string[];
}

/** Measures; takes some seconds. What it writes lies in a folder of its own, and goes. */
export async function measured(context: Context): Promise<Measured> {
  const memory = await measureMemory();
  context.signal.throwIfAborted();
  const disk = await measureCache(context);
  return {
    json: { ...memory.json, ...disk.json },
    text: [...memory.text, "", ...disk.text],
  };
}

async function measureMemory(): Promise<Measured> {
  const { readTopology } = await import("../placement/topology.ts");
  const { measureNodePairs, measurePinning, measureWorkingSets } = await import(
    "../placement/measure.ts"
  );
  const topology = readTopology();
  const pairs = measureNodePairs(topology);
  const sets = measureWorkingSets();
  const pinning = measurePinning(topology);
  const local = pairs.find((pair) => pair.cpuNode === pair.memoryNode)?.latencyNs;
  const rows = pairs.map((pair) => [
    `${pair.cpuNode}`,
    `${pair.memoryNode}`,
    `${pair.latencyNs.toFixed(1)} ns`,
    local === undefined ? "" : `${(pair.latencyNs / local).toFixed(2)}`,
    `${formatSize(pair.copyBytesPerSecond)}/s`,
  ]);
  return {
    json: {
      memory: pairs.map((pair) => ({
        cpu_node: pair.cpuNode,
        memory_node: pair.memoryNode,
        latency_ns: pair.latencyNs,
        copy_bytes_per_second: pair.copyBytesPerSecond,
      })),
      working_sets: sets.map(({ sizeBytes, latencyNs }) => ({
        size_bytes: sizeBytes,
        latency_ns: latencyNs,
      })),
      pinning: pinning && { pinned_ns: pinning.pinnedNs, moved_ns: pinning.movedNs },
    },
    text: [
      table(["CPU NODE", "MEMORY NODE", "LOAD", "× LOCAL", "COPY"], rows, [2, 3, 4]),
      "",
      table(
        ["WORKING SET", "LOAD"],
        sets.map(({ sizeBytes, latencyNs }) => [
          formatSize(sizeBytes),
          `${latencyNs.toFixed(1)} ns`,
        ]),
        [1],
      ),
      pinning
        ? `pinned within one cache: ${pinning.pinnedNs.toFixed(1)} ns per load; moved ` +
          `between caches: ${pinning.movedNs.toFixed(1)} ns`
        : "all CPUs share one cache: pinning within it changes nothing",
    ],
  };
}

async function measureCache(context: Context): Promise<Measured> {
  const { measureDisk, measureHitPath } = await import("../cache/measure.ts");
  const { BuiltinEmbedder } = await import("../embed/builtin.ts");
  const folder = await Deno.makeTempDir({
    prefix: "op-dbus-measure-",
    ...(isFolder(context.layout.cache) && { dir: context.layout.cache }),
  });
  try {
    using embedder = new BuiltinEmbedder();
    const hits = await measureHitPath(folder, embedder, context.signal);
    const disk = measureDisk(`${folder}/reads`);
    const us = (value: number) => `${value.toFixed(2)} µs`;
    return {
      json: {
        hit_path: {
          arena_us: hits.arenaUs,
          pack_us: hits.packUs,
          loose_us: hits.looseUs,
          vectors: hits.vectors,
        },
        disk: { cached_read_us: disk.cachedUs, cold_read_us: disk.coldUs },
      },
      text: [
        table(["HIT IN", "EACH"], [
          ["memory", us(hits.arenaUs)],
          ["a pack", us(hits.packUs)],
          ["a loose file", us(hits.looseUs)],
        ], [1]),
        `4 KiB read: ${us(disk.cachedUs)} from the page cache, ${us(disk.coldUs)} cold`,
      ],
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
