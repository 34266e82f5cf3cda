/**
 * Machines as their kernels describe them: the files of /sys and /proc that matter, in the
 * kernel's own formats, for topologies that this machine does not have.
 */
import { formatList } from "../../lib/placement/cpu_list.ts";

/** Path to content, relative to a folder that holds `sys` and `proc`. */
export type Tree = Record<string, string>;

interface NodeSpec {
  readonly id: number;
  readonly cpus: string;
  readonly totalKib: number;
  readonly freeKib: number;
  readonly distances: string;
}

interface MachineSpec {
  readonly online: string;
  readonly offline?: string;
  readonly nodes: readonly NodeSpec[];
  /** CPU lists that share an L3, with its size. */
  readonly l3: readonly (readonly [cpus: string, size: string])[];
  readonly allowedCpus?: string;
  readonly allowedNodes?: string;
  readonly hybrid?: { readonly core: string; readonly atom: string };
  readonly cgroup?: { readonly path: string; readonly files: Tree };
}

const GIB_KIB = 1024 * 1024;

function expand(list: string): number[] {
  return list.split(",").filter(Boolean).flatMap((part) => {
    const [from, to = from] = part.split("-").map(Number);
    return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i);
  });
}

function treeOf(spec: MachineSpec): Tree {
  const cpu = "sys/devices/system/cpu", node = "sys/devices/system/node";
  const ids = formatList(spec.nodes.map(({ id }) => id));
  const tree: Tree = {
    [`${cpu}/online`]: spec.online,
    [`${cpu}/offline`]: spec.offline ?? "",
    [`${node}/online`]: ids,
    "proc/self/status": `Name:\tdeno\nCpus_allowed_list:\t${
      spec.allowedCpus ?? spec.online
    }\nMems_allowed_list:\t${spec.allowedNodes ?? ids}\n`,
    "proc/self/cgroup": `0::${spec.cgroup?.path ?? "/"}`,
    ...spec.cgroup?.files,
  };
  for (const one of spec.nodes) {
    tree[`${node}/node${one.id}/cpulist`] = one.cpus;
    tree[`${node}/node${one.id}/distance`] = one.distances;
    tree[`${node}/node${one.id}/meminfo`] =
      `Node ${one.id} MemTotal:       ${one.totalKib} kB\n` +
      `Node ${one.id} MemFree:        ${one.freeKib} kB\n`;
  }
  for (const [cpus, size] of spec.l3) {
    for (const n of expand(cpus)) {
      const cache = `${cpu}/cpu${n}/cache`;
      tree[`${cache}/index0/level`] = "1";
      tree[`${cache}/index0/shared_cpu_list`] = String(n);
      tree[`${cache}/index0/size`] = "32K";
      tree[`${cache}/index3/level`] = "3";
      tree[`${cache}/index3/shared_cpu_list`] = cpus;
      tree[`${cache}/index3/size`] = size;
    }
  }
  if (spec.hybrid) {
    tree["sys/devices/cpu_core/cpus"] = spec.hybrid.core;
    tree["sys/devices/cpu_atom/cpus"] = spec.hybrid.atom;
  }
  return tree;
}

function node(id: number, cpus: string, gib: number, freeGib: number, distances: string) {
  const totalKib = gib * GIB_KIB, freeKib = freeGib * GIB_KIB;
  return { id, cpus, totalKib, freeKib, distances };
}

const eight = Array.from({ length: 8 }, (_, i) => i);

/** By name. */
export const MACHINES: Readonly<Record<string, Tree>> = {
  oneNode: treeOf({
    online: "0-7",
    nodes: [node(0, "0-7", 32, 20, "10")],
    l3: [["0-7", "16384K"]],
  }),
  oneNodeTwoCaches: treeOf({
    online: "0-15",
    nodes: [node(0, "0-15", 64, 20, "10")],
    l3: [["0-7", "32768K"], ["8-15", "32768K"]],
  }),
  twoNodes: treeOf({
    online: "0-31",
    nodes: [
      node(0, "0-7,16-23", 128, 10, "10 21"),
      node(1, "8-15,24-31", 128, 100, "21 10"),
    ],
    l3: [["0-7,16-23", "36608K"], ["8-15,24-31", "36608K"]],
  }),
  fourNodesWithHoles: treeOf({
    online: "0-5,7-15",
    offline: "6,16-31",
    nodes: [
      node(0, "0-3", 16, 1, "10 16 32 32"),
      node(2, "4-5,7", 16, 8, "16 10 32 32"),
      node(5, "8-11", 16, 12, "32 32 10 16"),
      node(7, "12-15", 16, 3, "32 32 16 10"),
    ],
    l3: [["0-3", "8M"], ["4-5,7", "8M"], ["8-11", "8M"], ["12-15", "8M"]],
  }),
  eightNodes: treeOf({
    online: "0-127",
    nodes: eight.map((i) =>
      node(
        i,
        `${i * 16}-${i * 16 + 15}`,
        64,
        8 + i,
        eight.map((j) => (i === j ? 10 : i >> 2 === j >> 2 ? 12 : 32)).join(" "),
      )
    ),
    l3: Array.from(
      { length: 16 },
      (_, i) => [`${i * 8}-${i * 8 + 7}`, "32768K"] as const,
    ),
  }),
  memoryOnlyNode: treeOf({ // CXL memory as node 1
    online: "0-7",
    nodes: [node(0, "0-7", 32, 4, "10 14"), node(1, "", 256, 250, "14 10")],
    l3: [["0-7", "16M"]],
  }),
  nodeWithoutMemory: treeOf({
    online: "0-15",
    nodes: [node(0, "0-7", 32, 16, "10 20"), node(1, "8-15", 0, 0, "20 10")],
    l3: [["0-7", "16M"], ["8-15", "16M"]],
  }),
  hybrid: treeOf({
    online: "0-19",
    nodes: [node(0, "0-19", 32, 16, "10")],
    l3: [["0-19", "24576K"]],
    hybrid: { core: "0-11", atom: "12-19" },
  }),
  container: treeOf({ // two CPUs and one node of a two-node host
    online: "0-31",
    nodes: [
      node(0, "0-15", 128, 64, "10 21"),
      node(1, "16-31", 128, 90, "21 10"),
    ],
    l3: [["0-15", "32M"], ["16-31", "32M"]],
    allowedCpus: "18-19",
    allowedNodes: "1",
    cgroup: {
      path: "/kube/pod/box",
      files: {
        "sys/fs/cgroup/kube/pod/box/cpu.max": "max 100000",
        "sys/fs/cgroup/kube/pod/box/memory.max": "2147483648",
        "sys/fs/cgroup/kube/pod/cpu.max": "150000 100000",
        "sys/fs/cgroup/kube/memory.max": "8589934592",
      },
    },
  }),
  oneCpuPerCache: treeOf({ // what many hypervisors show
    online: "0-3",
    nodes: [node(0, "0-1", 8, 4, "10 20"), node(1, "2-3", 8, 4, "20 10")],
    l3: [["0", "16M"], ["1", "16M"], ["2", "16M"], ["3", "16M"]],
  }),
  noNumaKernel: {
    "sys/devices/system/cpu/online": "0-1",
    "proc/meminfo": "MemTotal:        2000000 kB\nMemFree:         1000000 kB\n",
    "proc/self/status": "Cpus_allowed_list:\t0-1\n",
  },
};
