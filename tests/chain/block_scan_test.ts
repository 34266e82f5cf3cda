import {
  blockText,
  decodeBlock,
  encodeBlock,
  parseBlock,
  prepare,
  withoutData,
} from "../../lib/chain/block.ts";
import { soundBlock } from "../../lib/chain/block_scan.ts";
import { OpError } from "../../lib/base/errors.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { content } from "./support.ts";

const PREVIOUS = "ab".repeat(32);
const TIME = "2026-01-31T10:00:00.000Z";

function blockOf(more: Partial<Parameters<typeof prepare>[0]> = {}, number = 12) {
  const prepared = prepare({ ...content(number), ...more });
  return encodeBlock(prepared, number, PREVIOUS, TIME);
}

Deno.test("an ordinary block is found sound at once, with the hash that it has", () => {
  for (const number of [0, 1, 9, 10, 4096, 10 ** 15 - 1]) {
    const { bytes, leaf } = blockOf({}, number);
    assertEquals(soundBlock(bytes, number, PREVIOUS), leaf.toHex());
    assertEquals(parseBlock(bytes).leaf.toHex(), leaf.toHex());
  }
});

Deno.test("what is out of the ordinary is left to the closer look", () => {
  const whole = blockOf();
  const others: [string, Uint8Array, number, string][] = [
    ["another number", whole.bytes, 13, PREVIOUS],
    ["another block before it", whole.bytes, 12, "cd".repeat(32)],
    ["no data", withoutData(whole.bytes), 12, PREVIOUS],
    ["a state", blockOf({ state: PREVIOUS }).bytes, 12, PREVIOUS],
    ["an escape", blockOf({ what: 'a "b"' }).bytes, 12, PREVIOUS],
    ["a control character", blockOf({ who: "a\u0001" }).bytes, 12, PREVIOUS],
    ["other letters", blockOf({ who: "ä" }).bytes, 12, PREVIOUS],
    ["a compaction", blockOf({ action: "compact" }).bytes, 12, PREVIOUS],
    ["a byte more", new Uint8Array([...whole.bytes, 10]), 12, PREVIOUS],
    ["nothing", new Uint8Array(), 12, PREVIOUS],
  ];
  for (const [what, bytes, number, previous] of others) {
    assertEquals(soundBlock(bytes, number, previous), null, what);
  }
  for (let length = 0; length < whole.bytes.length; length++) {
    assertEquals(soundBlock(whole.bytes.subarray(0, length), 12, PREVIOUS), null);
  }
});

Deno.test("nothing is found sound that is not: every byte put, in every place", () => {
  const { bytes, leaf } = blockOf({ what: "x", who: "y", data: { n: 1 } });
  const bent = bytes.slice();
  for (let at = 0; at < bytes.length; at++) {
    for (let value = 0; value < 256; value++) {
      if (value === bytes[at]) continue;
      bent[at] = value;
      const found = soundBlock(bent, 12, PREVIOUS);
      if (found === null) continue;
      // Another text in the header is another block: sound in itself, with another hash.
      assertEquals(found, parseBlock(bent).leaf.toHex(), `byte ${at} as ${value}`);
      assertEquals(found === leaf.toHex(), false, `byte ${at} as ${value}`);
    }
    bent[at] = bytes[at]!;
  }
});

Deno.test("the text that is embedded is well formed, wherever it was cut", () => {
  for (const before of ["", "x"]) {
    const { bytes } = blockOf({ data: { text: before + "\u{1f600}".repeat(5000) } });
    const text = blockText(decodeBlock(bytes));
    assertEquals([text.length, text.isWellFormed()], [4096, true]);
  }
});

Deno.test("data that is no JSON is a bad block, though its hash is right", () => {
  const prepared = { ...prepare(content(1)), dataText: "no json" };
  const { bytes } = encodeBlock(prepared, 1, PREVIOUS, TIME);
  assertEquals(parseBlock(bytes).header.number, 1);
  assertThrows(() => decodeBlock(bytes), OpError, /its data is not JSON/);
});
