import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { InputError } from "../../lib/base/errors.ts";
import {
  type InputText,
  MAX_TEXT_BYTES,
  textsOfArguments,
  textsOfFile,
} from "../../lib/cli/embed_input.ts";

async function read(content: string | Uint8Array, jsonl = false) {
  await using folder = await tempFolder();
  const file = `${folder.path}/input`;
  await Deno.writeFile(
    file,
    typeof content === "string" ? new TextEncoder().encode(content) : content,
  );
  const stats = { emptyLines: 0 };
  const texts: InputText[] = [];
  for await (const text of textsOfFile(file, jsonl, stats)) texts.push(text);
  return { texts, stats };
}

Deno.test("lines: CRLF, a missing last line end, empty lines left out and counted", async () => {
  const { texts, stats } = await read("one\r\n\n  \ntwo  \nlast");
  assertEquals(texts, [
    { text: "one", line: 1 },
    { text: "two  ", line: 4 },
    { text: "last", line: 5 },
  ]);
  assertEquals(stats.emptyLines, 2);
});

Deno.test("lines: a NUL and a line longer than any chunk come through whole", async () => {
  const long = "é".repeat(2_500_000); // 5 MB
  const { texts } = await read(`a\0b\n${long}\nend`);
  assertEquals(texts.map(({ text }) => text), ["a\0b", long, "end"]);
});

Deno.test("invalid UTF-8 names the line", async () => {
  const bytes = new Uint8Array([0x61, 0x0a, 0xff, 0xfe, 0x0a]);
  const error = await assertRejects(
    () => read(bytes),
    InputError,
    /line 2: it is not UTF-8/,
  );
  assertEquals(error.exitCode, 2);
});

Deno.test("a line over the limit is refused before it is held", async () => {
  const bytes = new Uint8Array(MAX_TEXT_BYTES + 2).fill(0x61);
  await assertRejects(() => read(bytes), InputError, /longer than/);
});

Deno.test("JSON lines: strings, objects with ids, and what is wrong with the rest", async () => {
  const { texts } = await read('"plain"\n{"id":"x","text":"t"}\n{"text":"u"}\n', true);
  assertEquals(texts, [
    { text: "plain", line: 1 },
    { text: "t", line: 2, id: "x" },
    { text: "u", line: 3 },
  ]);
  for (const bad of ["{", "3", "null", '{"txt":1}', '{"text":""}', '{"text":5}']) {
    await assertRejects(() => read(`"ok"\n${bad}\n`, true), InputError, /line 2: /);
  }
});

Deno.test("a folder and a missing file are wrong input, exit 2", async () => {
  await using folder = await tempFolder();
  for (const path of [folder.path, `${folder.path}/missing`]) {
    const stats = { emptyLines: 0 };
    const error = await assertRejects(
      () => Array.fromAsync(textsOfFile(path, false, stats)),
      InputError,
    );
    assertEquals(error.exitCode, 2);
    assertEquals(error.message.includes(path), true);
  }
});

Deno.test("an empty argument is refused", () => {
  assertThrows(() => textsOfArguments(["a", ""]), InputError, /argument 2/);
});
