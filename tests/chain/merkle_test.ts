import {
  consistencyProof,
  emptyRoot,
  Frontier,
  inclusionProof,
  leafHash,
  nodeHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from "../../lib/chain/merkle.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";

/** Inputs and roots of the reference implementation of RFC 6962 (its merkle tree tests). */
const ENTRIES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
];
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/** RFC 6962 section 2.1, word for word. */
function definition(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return emptyRoot();
  if (leaves.length === 1) return leaves[0]!;
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return nodeHash(definition(leaves.slice(0, k)), definition(leaves.slice(k)));
}

const LEAVES = Array.from({ length: 70 }, (_, i) => leafHash(new Uint8Array([i])));

Deno.test("roots are those of the reference implementation", () => {
  const leaves = ENTRIES.map((hex) => leafHash(Uint8Array.fromHex(hex)));
  ROOTS.forEach((root, i) => assertEquals(rootOf(leaves.slice(0, i + 1)).toHex(), root));
  assertEquals(
    emptyRoot().toHex(),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
});

Deno.test("a frontier knows the root at every size, also when taken up again", () => {
  let frontier = new Frontier();
  LEAVES.forEach((leaf, i) => {
    frontier.append(leaf);
    frontier = Frontier.of(frontier.size, frontier.roots);
    assertEquals(frontier.root(), definition(LEAVES.slice(0, i + 1)));
  });
  assertThrows(() => Frontier.of(3, [LEAVES[0]!]), RangeError);
});

Deno.test("every inclusion proof up to 40 leaves holds, and only for its own leaf", () => {
  for (let size = 1; size <= 40; size++) {
    const root = rootOf(LEAVES, 0, size);
    for (let index = 0; index < size; index++) {
      const proof = inclusionProof(LEAVES, index, size);
      assertTrue(verifyInclusion(LEAVES[index]!, index, size, proof, root));
      assertTrue(!verifyInclusion(LEAVES[index + 1]!, index, size, proof, root));
      assertTrue(!verifyInclusion(LEAVES[index]!, index + 1, size, proof, root));
      assertTrue(!verifyInclusion(LEAVES[index]!, index, size, [...proof, root], root));
      if (proof.length > 0) {
        assertTrue(!verifyInclusion(LEAVES[index]!, index, size, proof.slice(1), root));
      }
    }
  }
});

Deno.test("every consistency proof up to 40 leaves holds, and only for its own trees", () => {
  for (let to = 1; to <= 40; to++) {
    for (let from = 1; from <= to; from++) {
      const proof = consistencyProof(LEAVES, from, to);
      const [a, b] = [rootOf(LEAVES, 0, from), rootOf(LEAVES, 0, to)];
      assertTrue(verifyConsistency(from, to, a, b, proof), `${from} to ${to}`);
      const other = rootOf(LEAVES, 0, to + 1);
      assertTrue(!verifyConsistency(from, to, a, other, proof));
      assertTrue(!verifyConsistency(from, to, other, b, proof));
      for (let at = 0; at < proof.length; at++) {
        const bent = proof.map((hash, i) => i === at ? leafHash(hash) : hash);
        assertTrue(!verifyConsistency(from, to, a, b, bent));
      }
    }
  }
});
