/** The topology as a picture in the terminal. */
import { formatList } from "./cpu_list.ts";
import type { NumaNode, Topology } from "./topology.ts";

const GIB = 1024 ** 3, MIB = 1024 ** 2;
const BAR_COLUMNS = 24;

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}

/** Lines of at most about 90 columns. */
export function drawTopology(topology: Topology): string[] {
  const lines = topology.nodes.flatMap((node) => drawNode(topology, node));
  if (topology.nodes.length > 1) lines.push("", ...drawDistances(topology));
  lines.push("", ...drawLimits(topology));
  if (topology.nodes.length === 1) {
    lines.push("one node: for memory placement there is nothing to gain here");
  }
  return lines;
}

function drawNode(topology: Topology, node: NumaNode): string[] {
  const used = node.totalBytes - node.freeBytes;
  const filled = node.totalBytes > 0
    ? Math.round(BAR_COLUMNS * used / node.totalBytes)
    : 0;
  const bar = "#".repeat(filled) + ".".repeat(BAR_COLUMNS - filled);
  const memory = node.totalBytes > 0
    ? `[${bar}] ${gib(node.freeBytes)} free of ${gib(node.totalBytes)}`
    : "no memory";
  const allowed = topology.limits.nodes.includes(node.id) ? "" : "  (not allowed)";
  const lines = [`node ${node.id}  ${memory}${allowed}`];
  if (node.cpus.length === 0) lines.push("  memory only, no CPUs");
  for (const { cpus, sizeBytes, level } of topology.cacheGroups) {
    const here = cpus.filter((cpu) => node.cpus.includes(cpu));
    if (here.length === 0) continue;
    const size = `${(sizeBytes / MIB).toFixed(0)} MiB`;
    lines.push(`  L${level} ${size.padStart(7)}  CPUs ${formatList(here)}`);
  }
  const grouped = new Set(topology.cacheGroups.flatMap(({ cpus }) => cpus));
  const rest = node.cpus.filter((cpu) => !grouped.has(cpu));
  if (rest.length > 0) lines.push(`  CPUs ${formatList(rest)} (caches unknown)`);
  return lines;
}

function drawDistances({ nodes }: Topology): string[] {
  const width = 5;
  const head = nodes.map(({ id }) => String(id).padStart(width)).join("");
  return [
    `distances (10 is local; relative, not nanoseconds)`,
    `     ${head}`,
    ...nodes.map(({ id, distances }) =>
      String(id).padStart(5) + distances.map((d) => String(d).padStart(width)).join("")
    ),
  ];
}

function drawLimits(
  { limits, onlineCpus, offlineCpus, hybrid, nodes }: Topology,
): string[] {
  const lines: string[] = [];
  const all = limits.cpus.length === onlineCpus.length;
  lines.push(
    all
      ? `this process may use all ${onlineCpus.length} CPUs`
      : `this process may use CPUs ${formatList(limits.cpus)}`,
  );
  if (limits.nodes.length < nodes.length) {
    lines.push(`and memory of nodes ${formatList(limits.nodes)}`);
  }
  if (limits.cpuQuota !== null) lines.push(`its cgroup grants ${limits.cpuQuota} CPUs`);
  if (limits.memoryBytes !== null) {
    lines.push(`its cgroup grants ${gib(limits.memoryBytes)} of memory`);
  }
  if (offlineCpus.length > 0) lines.push(`offline: CPUs ${formatList(offlineCpus)}`);
  if (hybrid) {
    lines.push(
      `performance cores: CPUs ${formatList(hybrid.performance)}; ` +
        `efficiency cores: CPUs ${formatList(hybrid.efficiency)}`,
    );
  }
  return lines;
}
