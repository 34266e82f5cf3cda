/** Where the hot path runs and keeps its memory. */
import { InputError } from "../base/errors.ts";
import { formatList } from "./cpu_list.ts";
import { nodeOfCpu, type NumaNode, type Topology } from "./topology.ts";

/** `local`, `most-memory`, `round-robin`, `interleave`, `off`, or a node's number. */
export type Strategy =
  | { readonly kind: "local" | "most-memory" | "round-robin" | "interleave" | "off" }
  | { readonly kind: "node"; readonly node: number };

/** How strictly memory stays on the chosen nodes. */
export type PolicyMode = "bind" | "preferred" | "interleave" | "default";

/** What to do, and why. */
export interface Placement {
  /** Nodes to take memory from; none for the kernel's choice. */
  readonly nodes: readonly number[];
  readonly policy: PolicyMode;
  /** CPUs to run on; none for no change. */
  readonly cpus: readonly number[];
  /** One line for people. */
  readonly reason: string;
}

const KINDS = ["local", "most-memory", "round-robin", "interleave", "off"] as const;

/**
 * A strategy by its name on the command line.
 *
 * @throws {InputError} for any other text
 */
export function parseStrategy(text: string): Strategy {
  const kind = KINDS.find((name) => name === text);
  if (kind) return { kind };
  const node = /^node:(\d{1,4})$/.exec(text)?.[1];
  if (node !== undefined) return { kind: "node", node: Number(node) };
  throw new InputError("bad_strategy", `Cannot place memory by ${JSON.stringify(text)}`, {
    hint: `choose one of ${KINDS.join(", ")}, node:N`,
  });
}

/** What choosing depends on besides the machine. */
export interface Circumstances {
  /** The CPU this runs on now. */
  readonly currentCpu: number;
  /** Tells processes that take turns apart, e.g. the process id. */
  readonly turn: number;
  /** Default: bind to one node, interleave over several. */
  readonly policy?: PolicyMode;
}

/** A choice that changes nothing. */
function none(reason: string): Placement {
  return { nodes: [], policy: "default", cpus: [], reason };
}

/**
 * Chooses nodes and CPUs.
 *
 * @throws {InputError} for a node that is not there or not allowed
 */
export function choosePlacement(
  topology: Topology,
  strategy: Strategy,
  now: Circumstances,
): Placement {
  const usable = memoryNodes(topology);
  if (strategy.kind === "node") {
    return onNode(topology, named(topology, strategy.node), now);
  }
  if (strategy.kind === "off") return none("placement is off");
  if (usable.length === 0) return none("no node with memory is allowed");
  if (usable.length === 1 && topology.nodes.length === 1) {
    return single(topology, usable[0]!, now);
  }
  switch (strategy.kind) {
    case "interleave":
      return {
        nodes: usable.map(({ id }) => id),
        policy: now.policy ?? "interleave",
        cpus: [],
        reason: `memory interleaved over nodes ${formatList(usable.map(({ id }) => id))}`,
      };
    case "most-memory":
      return onNode(topology, maxBy(usable, ({ freeBytes }) => freeBytes), now);
    case "round-robin":
      return onNode(topology, usable[now.turn % usable.length]!, now);
    case "local": {
      const here = nodeOfCpu(topology, now.currentCpu) ?? usable[0]!;
      return onNode(topology, here, now);
    }
  }
}

function memoryNodes({ nodes, limits }: Topology): NumaNode[] {
  return nodes.filter(({ id, totalBytes }) =>
    totalBytes > 0 && limits.nodes.includes(id)
  );
}

function named(topology: Topology, id: number): NumaNode {
  const node = topology.nodes.find((one) => one.id === id);
  const ids = formatList(memoryNodes(topology).map((one) => one.id));
  if (!node || !topology.limits.nodes.includes(id)) {
    const why = node ? "this process may not use it (cpuset)" : "there is no such node";
    throw new InputError("no_such_node", `Cannot use node ${id}: ${why}`, {
      hint: `nodes with memory: ${ids}`,
    });
  }
  return node;
}

/** Memory on a node, or the nearest one that has some; CPUs likewise. */
function onNode(topology: Topology, wanted: NumaNode, now: Circumstances): Placement {
  const memory = nearest(topology, wanted, memoryNodes(topology));
  const withCpus = topology.nodes.filter((node) =>
    allowedCpus(topology, node).length > 0
  );
  const runs = nearest(topology, wanted, withCpus);
  if (!memory) return none("no node with memory is allowed");
  const cpus = runs ? cpusOn(topology, runs, now.currentCpu) : [];
  const notes = [`memory on node ${memory.id}`];
  if (memory !== wanted) notes.push(`node ${wanted.id} has none`);
  if (cpus.length > 0) notes.push(`CPUs ${formatList(cpus)} of node ${runs!.id}`);
  if (runs && runs !== wanted) notes.push(`node ${wanted.id} has no CPUs to use`);
  return {
    nodes: [memory.id],
    policy: now.policy ?? "bind",
    cpus,
    reason: notes.join("; "),
  };
}

function single(topology: Topology, node: NumaNode, now: Circumstances): Placement {
  const cpus = cpusOn(topology, node, now.currentCpu);
  const all = topology.limits.cpus;
  const gain = cpus.length > 0 && cpus.length < all.length;
  return {
    nodes: [],
    policy: "default",
    cpus: gain ? cpus : [],
    reason: gain
      ? `one node: no memory to place; CPUs ${formatList(cpus)} share a cache`
      : "one node, one shared cache: there is nothing to gain",
  };
}

function allowedCpus({ limits }: Topology, node: NumaNode): number[] {
  return node.cpus.filter((cpu) => limits.cpus.includes(cpu));
}

/**
 * The CPUs of a node that share the last-level cache: the current CPU's group, else the
 * largest one. A group of one would put every thread on one CPU, so then the whole node.
 */
function cpusOn(topology: Topology, node: NumaNode, currentCpu: number): number[] {
  const allowed = allowedCpus(topology, node);
  const groups = topology.cacheGroups
    .map(({ cpus }) => cpus.filter((cpu) => allowed.includes(cpu)))
    .filter((cpus) => cpus.length > 0);
  const own = groups.find((cpus) => cpus.includes(currentCpu));
  const best = own ?? (groups.length > 0 ? maxBy(groups, (cpus) => cpus.length) : []);
  return best.length > 1 ? best : allowed;
}

function nearest(
  topology: Topology,
  from: NumaNode,
  among: readonly NumaNode[],
): NumaNode | null {
  const distance = (to: NumaNode) => from.distances[topology.nodes.indexOf(to)] ?? 255;
  return among.length === 0 ? null : maxBy(among, (to) => -distance(to));
}

/** The item with the largest value, the first of equals. */
function maxBy<T>(items: readonly T[], value: (item: T) => number): T {
  return items.reduce((best, item) => (value(item) > value(best) ? item : best));
}
