import { assertEquals } from "../support/assert.ts";
import { isMet, row, verdict, wanted } from "../../scripts/bench_kit.ts";

Deno.test("a figure's target: met at its limit, missed past it, on the value or the ratio", () => {
  const found = row("x", "ms", "lower", 12, { name: "the peer", value: 10 });
  assertEquals(wanted(found, { most: 12 }).target, { most: 12 });
  assertEquals(isMet(found, { most: 12 }), true);
  assertEquals(isMet(found, { most: 11.9 }), false);
  assertEquals(isMet(found, { least: 12, most: 13 }), true);
  assertEquals(isMet(found, { least: 12.1 }), false);
  assertEquals(isMet(found, { most: 1.5, of: "ratio" }), true);
  assertEquals(isMet(found, { most: 1.1, of: "ratio" }), false);
  assertEquals(isMet(row("x", "ms", "lower", 1), { most: 5, of: "ratio" }), false);
  assertEquals(verdict(found, { most: 12 }), "met (at most 12)");
  assertEquals(
    verdict(found, { least: 2, of: "ratio", why: "no disk" }),
    "MISSED (at least 2 × wanted): no disk",
  );
});
