/** Puts a placement into effect, and proves what came of it. */
import { getAffinity, setAffinity } from "../../ffi/affinity.ts";
import { listFolder } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import type { Mapping } from "../../ffi/memory.ts";
import {
  bindMapping,
  getPolicy,
  MPOL_BIND,
  MPOL_DEFAULT,
  MPOL_INTERLEAVE,
  MPOL_PREFERRED,
  pageNodes,
} from "../../ffi/mempolicy.ts";
import { asOpError } from "../base/errors.ts";
import type { Placement, PolicyMode } from "./strategy.ts";

const MODES: Readonly<Record<PolicyMode, number>> = {
  bind: MPOL_BIND,
  preferred: MPOL_PREFERRED,
  interleave: MPOL_INTERLEAVE,
  default: MPOL_DEFAULT,
};

/** The kernel's threads of this process. */
export function threadIds(): number[] {
  const decoder = new TextDecoder();
  return listFolder("/proc/self/task").map(({ name }) => Number(decoder.decode(name)));
}

/**
 * Keeps every thread of this process on the placement's CPUs; threads that are made later
 * inherit it.
 *
 * @returns how many threads were moved
 * @throws {OpError} when the kernel refuses
 */
export function pinThreads({ cpus }: Placement): number {
  if (cpus.length === 0) return 0;
  let pinned = 0;
  for (const thread of threadIds()) {
    try {
      setAffinity(cpus, thread);
      pinned++;
    } catch (error) {
      if (isSysError(error, "ESRCH")) continue; // it ended meanwhile
      throw asOpError(error, "Cannot pin the threads");
    }
  }
  return pinned;
}

/**
 * Binds a mapping's memory. Call it before its pages are touched.
 *
 * @throws {OpError} when the kernel refuses
 */
export function placeMapping(mapping: Mapping, { nodes, policy }: Placement): void {
  if (nodes.length === 0) return;
  try {
    // MPOL_PREFERRED takes one node.
    const used = policy === "preferred" ? nodes.slice(0, 1) : nodes;
    bindMapping(mapping, MODES[policy], policy === "default" ? [] : used);
  } catch (error) {
    throw asOpError(error, "Cannot place memory");
  }
}

/** What the kernel says about a mapping. */
export interface PlacementProof {
  readonly policy: PolicyMode | "other";
  readonly policyNodes: readonly number[];
  /** Pages in memory, by node. */
  readonly pages: ReadonlyMap<number, number>;
  /** Pages that no memory was given to yet. */
  readonly untouchedPages: number;
  /** CPUs that the main thread may run on. */
  readonly cpus: readonly number[];
}

/**
 * Asks the kernel where a mapping's pages are; null where it has no NUMA support.
 *
 * @throws {OpError} when asking fails
 */
export function provePlacement(mapping: Mapping): PlacementProof | null {
  try {
    const { mode, nodes } = getPolicy(mapping);
    const names = Object.keys(MODES) as PolicyMode[];
    const pages = new Map<number, number>();
    let untouchedPages = 0;
    for (const node of pageNodes(mapping)) {
      if (node < 0) untouchedPages++;
      else pages.set(node, (pages.get(node) ?? 0) + 1);
    }
    return {
      policy: names.find((name) => MODES[name] === mode) ?? "other",
      policyNodes: nodes,
      pages,
      untouchedPages,
      cpus: getAffinity(),
    };
  } catch (error) {
    if (isSysError(error, "ENOSYS")) return null;
    throw asOpError(error, "Cannot ask where memory is");
  }
}
