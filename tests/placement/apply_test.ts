import { assertEquals, assertTrue } from "../support/assert.ts";
import { sh } from "../support/scratch.ts";
import { getAffinity, setAffinity } from "../../ffi/affinity.ts";
import { Mapping, PAGE_BYTES } from "../../ffi/memory.ts";
import {
  allowedNodes,
  getPolicy,
  MPOL_DEFAULT,
  MPOL_INTERLEAVE,
  MPOL_PREFERRED,
  pageNodes,
  setThreadPolicy,
} from "../../ffi/mempolicy.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  pinThreads,
  placeMapping,
  provePlacement,
  threadIds,
} from "../../lib/placement/apply.ts";
import type { PolicyMode } from "../../lib/placement/strategy.ts";

/** A kernel built without NUMA has none of these calls. */
function kernelHasNuma(): boolean {
  try {
    allowedNodes();
    return true;
  } catch (error) {
    if (isSysError(error, "ENOSYS")) return false;
    throw error;
  }
}

const ignore = !kernelHasNuma();

Deno.test({
  name: "the policy of a mapping and the node of its pages are read back from the kernel",
  ignore,
  fn() {
    const node = allowedNodes()[0]!;
    for (const policy of ["bind", "preferred", "interleave"] as PolicyMode[]) {
      using mapping = Mapping.anonymous(64 * PAGE_BYTES);
      placeMapping(mapping, { nodes: [node], policy, cpus: [], reason: "" });
      new Uint8Array(mapping.buffer).fill(1, 0, 10 * PAGE_BYTES);
      const proof = provePlacement(mapping)!;
      assertEquals([proof.policy, proof.policyNodes], [policy, [node]]);
      assertEquals(proof.pages.get(node), 10);
      assertEquals(proof.untouchedPages, 54);
    }
  },
});

Deno.test({
  name: "numa_maps says the same of a bound mapping",
  ignore,
  fn() {
    const node = allowedNodes()[0]!;
    using mapping = Mapping.anonymous(32 * PAGE_BYTES);
    placeMapping(mapping, { nodes: [node], policy: "bind", cpus: [], reason: "" });
    new Uint8Array(mapping.buffer).fill(1);
    const address = Deno.UnsafePointer.value(mapping.address).toString(16);
    const line = Deno.readTextFileSync("/proc/self/numa_maps").split("\n")
      .find((one) => one.startsWith(address.padStart(8, "0")));
    assertTrue(line?.includes(`bind:${node}`), line);
    assertTrue(line?.includes(`N${node}=32`), line);
  },
});

Deno.test({
  name: "the thread's own policy is set and read back",
  ignore,
  fn() {
    const node = allowedNodes()[0]!;
    try {
      setThreadPolicy(MPOL_PREFERRED, [node]);
      assertEquals(getPolicy(), { mode: MPOL_PREFERRED, nodes: [node] });
      setThreadPolicy(MPOL_INTERLEAVE, [node]);
      assertEquals(getPolicy().mode, MPOL_INTERLEAVE);
    } finally {
      setThreadPolicy(MPOL_DEFAULT, []);
    }
    assertEquals(getPolicy(), { mode: MPOL_DEFAULT, nodes: [] });
  },
});

Deno.test({
  name: "untouched pages are on no node",
  ignore,
  fn() {
    using mapping = Mapping.anonymous(4 * PAGE_BYTES);
    assertEquals([...pageNodes(mapping)], [-2, -2, -2, -2]);
  },
});

Deno.test("every thread of the process is pinned, compared with taskset", async () => {
  const before = getAffinity();
  const cpu = before.at(-1)!;
  try {
    const placement = { nodes: [], policy: "default" as const, cpus: [cpu], reason: "" };
    assertTrue(pinThreads(placement) > 1, "Deno has several threads");
    for (const thread of threadIds()) assertEquals(getAffinity(thread), [cpu]);
    assertTrue(
      (await sh("taskset", "-p", "-c", String(Deno.pid))).includes(`: ${cpu}\n`),
    );
  } finally {
    for (const thread of threadIds()) setAffinity(before, thread);
  }
});
