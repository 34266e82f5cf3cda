import {
  assertEquals,
  assertIncludes,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { client, privateBus } from "../support/private_bus.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import { marshalBody } from "../../lib/dbus/marshal.ts";
import { isSignature } from "../../lib/dbus/names.ts";
import { ProtocolError, unmarshalBody } from "../../lib/dbus/unmarshal.ts";
import {
  inferType,
  type Json,
  plain,
  sameValue,
  ValueError,
} from "../../lib/dbus/value.ts";

/** How many random bodies; more with OPDBUS_FUZZ. */
const ROUNDS = Number(Deno.env.get("OPDBUS_FUZZ") ?? 20_000);

/** A small generator with a seed, so that a failure can be seen again. */
function random(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const BASIC = "ybnqiuxtdsog";

function randomType(next: (n: number) => number, depth: number): string {
  const kind = next(depth > 3 ? 12 : 18);
  if (kind < 12) return BASIC[kind]!;
  if (kind < 14) return `a${randomType(next, depth + 1)}`;
  if (kind === 14) return `a{${BASIC[next(12)]}${randomType(next, depth + 1)}}`;
  if (kind === 15) return "v";
  return `(${randomType(next, depth + 1)}${randomType(next, depth + 1)})`;
}

Deno.test("random bytes are read or refused, never worse", () => {
  const next = random(20261123);
  let refused = 0;
  for (let n = 0; n < ROUNDS; n++) {
    const signature = randomType(next, 0);
    assertTrue(isSignature(signature), signature);
    const bytes = Uint8Array.from({ length: next(64) }, () => next(next(3) ? 256 : 8));
    try {
      const values = unmarshalBody(signature, bytes, next(2) === 1);
      // What was read can be written, and reads the same again.
      const again = unmarshalBody(signature, marshalBody(signature, values), true);
      assertEquals(JSON.stringify(again), JSON.stringify(values), signature);
    } catch (error) {
      assertTrue(error instanceof ProtocolError, `${signature}: ${error}`);
      refused++;
    }
  }
  assertTrue(refused > ROUNDS / 2 && refused < ROUNDS, `${refused} refused`);
});

Deno.test("a dict with keys of our own notation is not taken for it", () => {
  const dicts: [string, string][][] = [
    [["$type", "u"], ["value", "5"]],
    [["$bytes", "AAAA"]],
    [["$unknown", "says the service"], ["b", "c"]],
  ];
  for (const dict of dicts) {
    for (const [signature, wrap] of [["a{ss}", dict], ["v", null]] as const) {
      const value = wrap ?? { $type: "a{ss}", value: dict };
      const [read] = unmarshalBody(signature, marshalBody(signature, [value]), true);
      assertEquals(JSON.stringify(read), JSON.stringify(value));
      assertEquals(JSON.stringify(plain(read!)), JSON.stringify(dict));
      assertTrue(sameValue(value, read!));
    }
  }
});

Deno.test("signatures: what the specification allows, and nothing else", () => {
  const good = [
    "",
    "y",
    "a{sv}",
    "(ii)",
    "aaaa{s(iv)}",
    "a".repeat(32) + "y",
    "ssa{oas}",
  ];
  const bad = ["a", "{sv}", "a{vs}", "()", "(i", "i)", "a{s}", "a{sss}", "z", "a{(i)s}"];
  const deep = [
    "a".repeat(33) + "y",
    "(".repeat(33) + "y" + ")".repeat(33),
    "y".repeat(256),
  ];
  good.forEach((text) => assertTrue(isSignature(text), text));
  [...bad, ...deep].forEach((text) => assertTrue(!isSignature(text), text.slice(0, 40)));
});

Deno.test("wanted and observed values are the same whatever the integer's type", () => {
  const typed = (type: string, value: Json) => ({ $type: type, value });
  const same: [Json, Json][] = [
    [5, typed("u", 5)],
    [{ a: 1 }, { a: typed("t", 1) }],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }],
    ["5", 5],
    [[0, 255], { $bytes: "AP8=" }],
    [typed("u", 5), typed("u", 5)],
    ["007", typed("x", 7)],
    [-0, typed("i", 0)],
    [-0, typed("d", "-0")],
    ["18446744073709551615", typed("t", "18446744073709551615")],
  ];
  const other: [Json, Json][] = [
    [5, typed("u", 6)],
    [typed("i", 5), typed("u", 5)],
    [["a", "b"], ["b", "a"]],
    [{ a: 1 }, { a: 1, b: 2 }],
    ["five", 5],
    [true, 1],
    [null, 0],
    [0, typed("d", "-0")],
    [1.5, typed("s", "1.5")],
  ];
  same.forEach(([a, b]) => assertTrue(sameValue(a, b), JSON.stringify([a, b])));
  other.forEach(([a, b]) => assertTrue(!sameValue(a, b), JSON.stringify([a, b])));
  assertEquals(plain({ a: typed("v", typed("ai", [1])) }), { a: [1] });
  assertEquals([inferType(null), inferType(-0), inferType([])], [null, "d", "av"]);
});

Deno.test("a message of millions of tiny values is refused before it fills the memory", () => {
  const count = 4_000_000;
  const bytes = new Uint8Array(4 + count * 4);
  new DataView(bytes.buffer).setUint32(0, count * 4, true);
  assertThrows(() => unmarshalBody("ai", bytes, true), ProtocolError, /More than/);
  // A string of bytes is one value, however long.
  assertEquals(unmarshalBody("ay", bytes, true).length, 1);
});

Deno.test("numbers are taken as they are printed: no infinity by overflow, no odd keys", () => {
  const bad: [string, Json][] = [
    ["d", 1e999],
    ["d", "constructor"],
    ["a{uy}", { "0x10": 1 }],
    ["a{uy}", { " 5": 1 }],
    ["a{iy}", { "1e2": 1 }],
    ["a{dy}", { "1e999": 1 }],
  ];
  for (const [type, value] of bad) {
    assertThrows(() => marshalBody(type, [value]), ValueError, /got /);
  }
  const good: [string, Json][] = [["d", "Infinity"], ["a{dy}", { "NaN": 1, "-0": 2 }]];
  for (const [type, value] of good) {
    assertEquals(unmarshalBody(type, marshalBody(type, [value]), true), [value]);
  }
});

Deno.test("a connection can answer calls and signal, as serve needs", async () => {
  await using peer = await privateBus();
  await using bus = await Bus.connect(peer.address);
  await bus.driver("RequestName", "su", ["org.test.Mine", 4]);
  bus.handleCalls((call) => {
    if (call.member === "Double") {
      bus.reply(call, { signature: "x", body: [2 * (call.body![0] as number)] });
    } else {
      bus.reply(call, {
        errorName: "org.test.Error.No",
        signature: "s",
        body: [`no ${call.member}`],
      });
    }
  });
  const to = ["call", "--address", peer.address, "--dest", "org.test.Mine"];
  const object = ["--object-path", "/", "--method"];
  const doubled = await client(
    peer.address,
    "gdbus",
    ...to,
    ...object,
    "org.test.I.Double",
    "int64 21",
  );
  assertEquals(doubled, "(int64 42,)\n");
  const failed = await client(peer.address, "gdbus", ...to, ...object, "org.test.I.Halve")
    .catch((error: Error) => error.message);
  assertIncludes(failed, "org.test.Error.No: no Halve");
});
