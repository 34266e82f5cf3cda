import { assertEquals, assertTrue } from "../support/assert.ts";
import { BUILTIN_IDENTITY, BuiltinEmbedder } from "../../lib/embed/builtin.ts";

async function cosines(...texts: string[]): Promise<number[]> {
  using embedder = new BuiltinEmbedder();
  const { matrix } = await embedder.embed(texts);
  const d = BUILTIN_IDENTITY.dimensions;
  const row = (i: number) => matrix.subarray(i * d, i * d + d);
  return texts.map((_, i) => row(i).reduce((sum, x, j) => sum + x * row(0)[j]!, 0));
}

Deno.test("similar strings come out nearer than unrelated ones", async () => {
  const groups = [
    ["restart the network service", "restart network services", "bake a chocolate cake"],
    ["Cannot open /etc/hosts", "cannot open /etc/host", "snapshot rotation finished"],
    [
      "container lxc-101 is running",
      "container lxc-102 is running",
      "mouse and keyboard",
    ],
    ["Überprüfung der Prüfsumme", "die Prüfsumme überprüfen", "Kaffee und Kuchen"],
    ["ファイルシステムの容量", "ファイルシステムの容量不足", "今日は良い天気"],
  ];
  for (const texts of groups) {
    const [self, near, far] = await cosines(...texts);
    assertTrue(Math.abs(self! - 1) < 1e-5, `${texts[0]}: length ${self}`);
    assertTrue(near! > far! + 0.3, `${texts[1]} at ${near}, ${texts[2]} at ${far}`);
  }
});

Deno.test("a misspelt word stays near", async () => {
  const [, near, far] = await cosines("authentication", "authentification", "bandwidth");
  assertTrue(near! > 0.4 && far! < 0.2, `${near} ${far}`);
});

Deno.test("composed and decomposed forms, and cases, are one text", async () => {
  const [, decomposed, upper, wide] = await cosines(
    "café",
    "cafe\u0301",
    "CAFÉ",
    "ｃａｆé",
  );
  for (const value of [decomposed, upper, wide]) assertTrue(value! > 0.99999);
});

Deno.test("every text has a direction: empty, blanks, signs, NUL, half a surrogate", async () => {
  for (const text of ["", "   ", "!!!", "\0", "a\0b", "\ud800", "🙂", "的"]) {
    const [length] = await cosines(text);
    assertTrue(Math.abs(length! - 1) < 1e-5, JSON.stringify(text));
  }
});

Deno.test("a text of 5 MB is cut, counted and embedded", async () => {
  using embedder = new BuiltinEmbedder();
  const long = "disk full on btrfs ".repeat(5_000_000 / 19);
  const result = await embedder.embed([long, "x".repeat(5_000_000), "short"]);
  assertEquals(result.truncated, 2);
  assertEquals(result.tokens, 2 * BUILTIN_IDENTITY.maxTokens + 1);
});

Deno.test("the vectors are the same on every machine", async () => {
  using embedder = new BuiltinEmbedder();
  const { matrix } = await embedder.embed(["The quick brown fox", "jumps"]);
  const digest = await crypto.subtle.digest("SHA-256", matrix);
  assertEquals(
    new Uint8Array(digest).toHex(),
    "33166e46ec7117cbdad2568bde179926e8d5299092648a8320a7df319d8fd94e",
    "change the version in lib/embed/builtin.ts with anything that moves a vector",
  );
});

Deno.test("an aborted call ends with the signal's reason", async () => {
  using embedder = new BuiltinEmbedder();
  const signal = AbortSignal.abort(new Error("stop"));
  let reason: unknown;
  await embedder.embed(["a"], { signal }).catch((error) => reason = error);
  assertEquals((reason as Error).message, "stop");
  assertEquals((await embedder.embed([])).matrix.length, 0);
});
