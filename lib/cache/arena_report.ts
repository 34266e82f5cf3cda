/** Where the memory for hot vectors really is. */
import { PAGE_BYTES } from "../../ffi/memory.ts";
import { pageNodes } from "../../ffi/mempolicy.ts";
import { type PlacementProof, provePlacement } from "../placement/apply.ts";
import type { Arena } from "./arena.ts";
import type { Store } from "./store.ts";

/** One model's arena. */
export interface ArenaReport {
  readonly model: string;
  /** Vectors in it, of how many. */
  readonly vectors: number;
  readonly capacity: number;
  readonly evictions: number;
  /** What the kernel says; null where it has no NUMA support. */
  readonly proof: PlacementProof | null;
  /** Hits answered from memory of each node. */
  readonly hitsByNode: ReadonlyMap<number, number>;
}

/** Asks the kernel about every arena. */
export function reportArenas(store: Store): ArenaReport[] {
  return store.rooms().flatMap(({ identity, arena }) => {
    if (!arena) return [];
    const proof = provePlacement(arena.mapping);
    const { size: vectors, capacity, evictions } = arena;
    const hitsByNode = proof ? hitsOf(arena) : new Map<number, number>();
    return [{ model: identity.name, vectors, capacity, evictions, proof, hitsByNode }];
  });
}

function hitsOf(arena: Arena): Map<number, number> {
  const slots = [...arena.slotHits()].filter(({ hits }) => hits > 0);
  const nodes = pageNodes(
    arena.mapping,
    slots.map(({ byteOffset }) => Math.floor(byteOffset / PAGE_BYTES)),
  );
  const byNode = new Map<number, number>();
  slots.forEach(({ hits }, i) => {
    const node = nodes[i]!;
    if (node >= 0) byNode.set(node, (byNode.get(node) ?? 0) + hits);
  });
  return byNode;
}
