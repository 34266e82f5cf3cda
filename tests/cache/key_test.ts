import { createHash } from "node:crypto";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { InputError } from "../../lib/base/errors.ts";
import { VectorKeys, wellFormed } from "../../lib/cache/key.ts";
import { BUILTIN_IDENTITY } from "../../lib/embed/builtin.ts";

Deno.test("the key is SHA-256 over length-prefixed fields, in the order of DESIGN.md", () => {
  const identity = { ...BUILTIN_IDENTITY, prefix: "é: ", maxTokens: 128 };
  const oracle = createHash("sha256");
  for (
    const field of [
      identity.digest,
      "384",
      "none",
      "l2",
      "é: ",
      "128",
      "grüß\0dich",
    ]
  ) {
    const bytes = new TextEncoder().encode(field);
    oracle.update(`${bytes.length}:`).update(bytes);
  }
  assertEquals(new VectorKeys(identity).of("grüß\0dich"), oracle.digest("hex"));
});

Deno.test("keys of every length and alphabet are OpenSSL's, also past the own hash's limits", () => {
  const prefixes = ["", "q: ", "x".repeat(13), "y".repeat(60), "é".repeat(700)];
  const models = prefixes.map((prefix) => {
    const identity = { ...BUILTIN_IDENTITY, prefix };
    return { prefix, keys: new VectorKeys(identity), started: new VectorKeys(identity) };
  });
  for (const { started } of models) for (let i = 0; i < 100; i++) started.of(`${i}`);
  for (let length = 0; length < 520; length++) {
    for (const letter of ["a", "ß", "漢", "🙂"]) {
      const text = letter.repeat(length);
      const bytes = new TextEncoder().encode(text);
      // In turn, so that each model finds another's beginning in the hash's memory.
      for (const { prefix, keys, started } of models) {
        const oracle = createHash("sha256");
        const fields = [BUILTIN_IDENTITY.digest, "384", "none", "l2", prefix, "8192"];
        for (const field of fields) {
          oracle.update(`${new TextEncoder().encode(field).length}:${field}`);
        }
        const wanted = oracle.update(`${bytes.length}:`).update(bytes).digest("hex");
        assertEquals(started.of(text), wanted, `${letter} ${length}`);
        const { bytes: key, words } = started.views(text);
        assertEquals([key.toHex(), words.length], [wanted, 8]);
        assertEquals(new Uint8Array(words.slice().buffer).toHex(), wanted);
        if (length === 3) assertEquals(keys.of(text), wanted, "a first key");
      }
    }
  }
});

Deno.test("any field changes the key, the name does not", () => {
  const base = BUILTIN_IDENTITY;
  const others = [
    { ...base, digest: "0".repeat(64) },
    { ...base, dimensions: 768 },
    { ...base, pooling: "cls" as const },
    { ...base, normalisation: "none" as const },
    { ...base, prefix: "query: " },
    { ...base, maxTokens: 0 },
  ];
  const keys = [base, ...others].map((identity) => new VectorKeys(identity).of("text"));
  assertEquals(new Set(keys).size, keys.length);
  assertEquals(new VectorKeys({ ...base, name: "other" }).of("text"), keys[0]);
});

Deno.test("a field cannot run into the next one", () => {
  const key = (prefix: string, text: string) =>
    new VectorKeys({ ...BUILTIN_IDENTITY, prefix }).of(text);
  const pairs = [["", "4:8192x"], ["4:8192", "x"], ["4", ":8192x"], ["1:x", ""]] as const;
  const keys = pairs.map(([prefix, text]) => key(prefix, text));
  assertEquals(new Set(keys).size, keys.length);
});

Deno.test("half a surrogate is hashed as the text that is embedded", () => {
  assertEquals(wellFormed("a\ud800b"), "a\ufffdb");
  assertEquals(wellFormed("🙂"), "🙂");
});

Deno.test("an identity that cannot name a vector is refused", () => {
  for (
    const bad of [
      { ...BUILTIN_IDENTITY, digest: "ABC" },
      { ...BUILTIN_IDENTITY, dimensions: 0 },
      { ...BUILTIN_IDENTITY, dimensions: 1.5 },
      { ...BUILTIN_IDENTITY, dimensions: 1e9 },
    ]
  ) assertThrows(() => new VectorKeys(bad), InputError, /Cannot use the model/);
});
