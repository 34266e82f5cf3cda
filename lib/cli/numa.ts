/** op-dbus numa */
import { atOnce } from "../base/slices.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { openCache } from "./open_cache.ts";
import { EMBEDDER_FLAGS, type EmbedderFlags, storedIdentity } from "./open_embedder.ts";
import { table } from "./table.ts";

/** Vectors that `numa stats` takes into memory and looks up. */
const SAMPLE_VECTORS = 20_000;

const show = command({
  brief: "Draw the machine: nodes, memory, shared caches, distances, limits",
  examples: ["op-dbus numa show", "op-dbus numa show --json"],
  flags: {},
  async run(context) {
    const { readTopology } = await import("../placement/topology.ts");
    const { drawTopology } = await import("../placement/draw.ts");
    const { hasLibnuma } = await import("../../ffi/mempolicy.ts");
    const topology = readTopology();
    const placement = await chosen(context);
    context.out.result(
      {
        nodes: topology.nodes.map(({ totalBytes, freeBytes, ...rest }) => ({
          ...rest,
          total_bytes: totalBytes,
          free_bytes: freeBytes,
        })),
        online_cpus: topology.onlineCpus,
        offline_cpus: topology.offlineCpus,
        cache_groups: topology.cacheGroups.map(({ sizeBytes, ...rest }) => ({
          ...rest,
          size_bytes: sizeBytes,
        })),
        hybrid: topology.hybrid,
        limits: {
          cpus: topology.limits.cpus,
          nodes: topology.limits.nodes,
          cpu_quota: topology.limits.cpuQuota,
          memory_bytes: topology.limits.memoryBytes,
        },
        libnuma: hasLibnuma(),
        placement,
      },
      () => [...drawTopology(topology), `placement here: ${placement.reason}`].join("\n"),
    );
  },
});

async function chosen({ config }: Context) {
  const { readTopology } = await import("../placement/topology.ts");
  const { choosePlacement, parseStrategy } = await import("../placement/strategy.ts");
  const { currentCpu } = await import("../../ffi/affinity.ts");
  const policy = config.get("placement.policy");
  return choosePlacement(
    readTopology(),
    parseStrategy(config.get("placement.strategy")),
    {
      currentCpu: currentCpu(),
      turn: Deno.pid,
      ...(policy !== "auto" && { policy }),
    },
  );
}

const stats = command<Pick<EmbedderFlags, "model">>({
  brief: "Prove where the memory for hot vectors is, and which node answers hits",
  description:
    "Takes the last used vectors into memory as any command does, looks each\n" +
    "up once, and asks the kernel where the pages are (move_pages).",
  examples: ["op-dbus numa stats", "op-dbus numa stats --json"],
  flags: { model: EMBEDDER_FLAGS.model },
  async run(context, flags) {
    const { numaCounters } = await import("../placement/counters.ts");
    const cache = await openCache(context);
    const identity = await storedIdentity(context, flags);
    const placement = await chosen(context);
    const taken = atOnce(cache.warmArena(identity, SAMPLE_VECTORS));
    const looked = cache.lookUpArena(identity);
    const [arena] = cache.arenas();
    const counters = numaCounters();
    const proof = arena?.proof ?? null;
    const nodes = [...(proof?.pages ?? [])].map(([node, pages]) => ({
      node,
      pages,
      hits: arena?.hitsByNode.get(node) ?? 0,
    }));
    context.out.result(
      {
        placement,
        vectors: taken,
        hits: looked,
        numa_support: proof !== null || arena === undefined,
        policy: proof?.policy ?? null,
        policy_nodes: proof?.policyNodes ?? [],
        cpus: proof?.cpus ?? [],
        nodes,
        kernel: counters,
      },
      () =>
        [
          `placement: ${placement.reason}`,
          proof
            ? `policy of the memory: ${proof.policy}; ${taken} vectors in it`
            : "this kernel has no NUMA support: there is nothing to place",
          table(
            ["NODE", "PAGES", "HITS"],
            nodes.map(({ node, pages, hits }) => [`${node}`, `${pages}`, `${hits}`]),
            [0, 1, 2],
          ),
          "",
          table(
            ["NODE", "KERNEL: HIT", "MISS", "FOREIGN", "LOCAL", "OTHER"],
            counters.map((c) =>
              [c.node, c.hit, c.miss, c.foreign, c.local, c.other].map(String)
            ),
            [0, 1, 2, 3, 4, 5],
          ),
        ].join("\n"),
    );
  },
});

export const numa = group("See the machine's memory nodes, and where hot vectors are", {
  show,
  stats,
});
