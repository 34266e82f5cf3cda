import reference from "canonicalize";
import { canonicalJson } from "../../lib/chain/canonical.ts";
import { InputError } from "../../lib/base/errors.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { generator } from "./support.ts";

// The package is CommonJS, whose default export its types put elsewhere.
const canonicalize = reference as unknown as (value: unknown) => string;

Deno.test("RFC 8785's own example comes out as it says", () => {
  const value = {
    numbers: [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    string: "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    literals: [null, true, false],
  };
  assertEquals(
    canonicalJson(value),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
      '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

Deno.test("2,000 random values come out as the reference implementation writes them", () => {
  const random = generator(8785);
  const value = (depth: number): unknown => {
    const kind = random(depth > 3 ? 5 : 7);
    if (kind === 0) return null;
    if (kind === 1) return random(2) === 1;
    if (kind === 2) return (random(2 ** 31) - 2 ** 30) / 2 ** random(40);
    if (kind <= 4) {
      const points = Array.from({ length: random(12) }, () => random(0xd7ff));
      return String.fromCodePoint(...points, 0x1f600 + random(64));
    }
    const items = Array.from({ length: random(5) }, () => value(depth + 1));
    if (kind === 5) return items;
    return Object.fromEntries(
      items.map((item, i) => [`${random(99)}\u{1f600}é${i}`, item]),
    );
  };
  for (let i = 0; i < 2000; i++) {
    const one = value(0);
    assertEquals(canonicalJson(one), canonicalize(one));
  }
});

Deno.test("what JSON cannot hold is refused, not dropped", () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const bad = [
    NaN,
    Infinity,
    undefined,
    1n,
    Symbol("x"),
    () => 1,
    new Date(0),
    new Map(),
    new Array(2),
    Array.from({ length: 3 }, (_, i) => i).filter(Number).concat(new Array(1)),
  ];
  for (const one of [...bad, { a: undefined }, ["\ud800"], { "\udfff": 1 }, cycle]) {
    assertThrows(() => canonicalJson(one), InputError, /canonical JSON/);
  }
});
