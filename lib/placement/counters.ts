/** The kernel's own counts of allocations by node (`node*\/numastat`). */
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { parseList } from "./cpu_list.ts";

/** Pages allocated since boot. Source: Documentation/admin-guide/numastat.rst. */
export interface NumaCounters {
  readonly node: number;
  /** On this node, as wanted. */
  readonly hit: number;
  /** On this node, though another was wanted. */
  readonly miss: number;
  /** Wanted here, given elsewhere. */
  readonly foreign: number;
  /** By a process running on this node, and by others. */
  readonly local: number;
  readonly other: number;
}

/** The counts of every node; none on a kernel without NUMA. */
export function numaCounters(folder = "/sys/devices/system/node"): NumaCounters[] {
  let nodes: number[];
  try {
    nodes = parseList(readTextFile(`${folder}/online`));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw error;
  }
  return nodes.map((node) => {
    const text = readTextFile(`${folder}/node${node}/numastat`);
    const field = (name: string) =>
      Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
    return {
      node,
      hit: field("numa_hit"),
      miss: field("numa_miss"),
      foreign: field("numa_foreign"),
      local: field("local_node"),
      other: field("other_node"),
    };
  });
}
