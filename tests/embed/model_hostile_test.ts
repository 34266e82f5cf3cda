import { SysError } from "../../ffi/errno.ts";
import { InputError } from "../../lib/base/errors.ts";
import { copyFrom, homeOf } from "../../lib/embed/model/copy.ts";
import { addModel } from "../../lib/embed/model/add.ts";
import { readOnnxFile } from "../../lib/embed/model/onnx_file.ts";
import { openModel } from "../../lib/embed/model/open.ts";
import { listModels } from "../../lib/embed/model/store.ts";
import { cosine } from "../../lib/embed/onnx/drift.ts";
import type { FolderOptions } from "../../scripts/models/folder.ts";
import { randomFrom } from "../../scripts/models/random.ts";
import { tokenizerJson, vocabulary } from "../../scripts/models/tokenizer_json.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { CPU, modelScratch, replaceBytes, sentences } from "./support.ts";

/** Folders that are refused, by how they are made odd, with what the message says. */
const ODD: readonly (readonly [string, FolderOptions, RegExp])[] = [
  ["an input that nobody feeds", { extraInput: "position_ids" }, /position_ids/],
  ["four axes", { output: "logits4d" }, /4 axes/],
  ["outputs that are not finite", { output: "nan" }, /not finite/],
];
for (const [name, options, pattern] of ODD) {
  Deno.test(`a model with ${name} is refused`, async () => {
    await using scratch = await modelScratch();
    const path = await scratch.write(options);
    const add = () => addModel(scratch.layout, "m", path, { devices: CPU });
    const error = await assertRejects(add, InputError, pattern);
    assertTrue(!error.message.includes("\n") && error.hint, error.message);
    assertTrue(error.message.includes(path), error.message);
    assertEquals(listModels(scratch.layout), []);
    const left = [...Deno.readDirSync(scratch.layout.root)].flatMap(({ name }) =>
      [...Deno.readDirSync(`${scratch.layout.root}/${name}`)].map((entry) => entry.name)
    );
    assertEquals(left.filter((name) => !name.endsWith(".lock")), []);
  });
}

/** What may be done to a good folder, with what the message says. */
const DAMAGE: readonly (readonly [string, (path: string) => Promise<void>, RegExp])[] = [
  ["no tokenizer", (path) => Deno.remove(`${path}/tokenizer.json`), /tokenizer\.json/],
  ["no model", (path) => Deno.remove(`${path}/onnx/model.onnx`), /model\.onnx/],
  [
    "a model cut short",
    (path) => Deno.truncate(`${path}/onnx/model.onnx`, 100_000),
    /model\.onnx/,
  ],
  [
    "an empty model",
    (path) => Deno.truncate(`${path}/onnx/model.onnx`, 0),
    /model\.onnx/,
  ],
  [
    "a web page as its model",
    (path) => Deno.writeTextFile(`${path}/onnx/model.onnx`, "<!DOCTYPE html><html>"),
    /model\.onnx/,
  ],
  [
    "a tokenizer cut short",
    (path) => Deno.truncate(`${path}/tokenizer.json`, 500),
    /tokenizer/,
  ],
  [
    "a tokenizer of an unsupported kind",
    async (path) => {
      const file = `${path}/tokenizer.json`;
      const definition = JSON.parse(await Deno.readTextFile(file));
      definition.model.type = "WordLevel";
      await Deno.writeTextFile(file, JSON.stringify(definition));
    },
    /model-1\/tokenizer\.json: .*WordLevel/,
  ],
  [
    "a tokenizer of another model",
    (path) =>
      Deno.writeTextFile(
        `${path}/tokenizer.json`,
        JSON.stringify(tokenizerJson(vocabulary(3000, 1))),
      ),
    /3000 tokens, the model only 2000/,
  ],
  [
    "a token of its own that the model lacks",
    async (path) => {
      const file = `${path}/tokenizer.json`;
      const definition = JSON.parse(await Deno.readTextFile(file));
      definition.added_tokens.push({ id: 2000, content: "<more>", special: true });
      await Deno.writeTextFile(file, JSON.stringify(definition));
    },
    /2001 tokens, the model only 2000/,
  ],
  [
    "garbage for settings",
    (path) => Deno.writeTextFile(`${path}/config.json`, "{"),
    /config\.json/,
  ],
  [
    "a list for settings",
    (path) => Deno.writeTextFile(`${path}/config.json`, "[]"),
    /config\.json/,
  ],
  [
    "an object for modules",
    (path) => Deno.writeTextFile(`${path}/modules.json`, "{}"),
    /modules\.json: not a list/,
  ],
  [
    "settings of over a megabyte",
    (path) => Deno.writeTextFile(`${path}/config.json`, `{}${" ".repeat(1 << 20)}`),
    /config\.json: over 1048576 bytes/,
  ],
  [
    "a layer that op-dbus does not have",
    (path) =>
      Deno.writeTextFile(
        `${path}/modules.json`,
        '[{"type":"sentence_transformers.models.Dense"}]',
      ),
    /Dense/,
  ],
  [
    "two poolings",
    (path) =>
      Deno.writeTextFile(
        `${path}/1_Pooling/config.json`,
        '{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}',
      ),
    /pooling/,
  ],
  [
    "other dimensions stated",
    (path) =>
      Deno.writeTextFile(
        `${path}/1_Pooling/config.json`,
        '{"pooling_mode_mean_tokens":true,"word_embedding_dimension":384}',
      ),
    /32 dimensions, .* says 384/,
  ],
];
for (const [name, damage, pattern] of DAMAGE) {
  Deno.test(`a folder with ${name} is refused`, async () => {
    await using scratch = await modelScratch();
    const path = await scratch.write();
    await damage(path);
    const add = () => addModel(scratch.layout, "m", path, { devices: CPU });
    const error = await assertRejects(add, InputError, pattern);
    assertTrue(!error.message.includes("\n"), error.message);
    assertTrue(error.message.includes(path), error.message);
    assertEquals(listModels(scratch.layout), []);
  });
}

Deno.test("a folder that is none, and a file outside of it, are refused", async () => {
  await using scratch = await modelScratch();
  const add = (path: string, file?: string) => () =>
    addModel(scratch.layout, "m", path, { devices: CPU, ...(file && { file }) });
  await assertRejects(add("/nowhere/at/all"), InputError, /no such folder/);
  const path = await scratch.write();
  await assertRejects(add(path, "../../etc/passwd"), InputError, /inside the folder/);
  const other = await assertRejects(add(path, "model_q4.onnx"), InputError);
  assertEquals(other.hint, "name one with --file: onnx/model.onnx");
});

Deno.test("missing weights are named; weights outside the folder are refused", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write({ externalFile: "model.onnx_data" });
  await Deno.remove(`${path}/onnx/model.onnx_data`);
  const add = (from: string) => () =>
    addModel(scratch.layout, "m", from, { devices: CPU });
  const missing =
    /^Cannot use the model \S+\/model-1: .*model\.onnx_data, which is missing/;
  await assertRejects(add(path), InputError, missing);
  // It is there, so that its place alone is what is wrong.
  await Deno.writeTextFile(`${path}/../secret`, "x");
  for (
    const [name, why] of [
      ["../../secret", /lie outside the folder \("..\/..\/secret"\)/],
      ["/etc/passwd", /lie outside/],
      ["a//b", /lie outside/],
      ["config.json", /weights are in config\.json$/],
      ["./model.onnx", /weights are in \.\/model\.onnx$/],
    ] as const
  ) {
    // The writer puts the name into the model; the file itself is what does not matter.
    const bad = await scratch.write({ externalFile: "0".repeat(name.length) });
    const file = `${bad}/onnx/model.onnx`;
    const bytes = await Deno.readFile(file);
    replaceBytes(bytes, "0".repeat(name.length), name);
    await Deno.writeFile(file, bytes);
    await assertRejects(add(bad), InputError, why);
  }
});

Deno.test({
  name: "a link to a file of another user is refused, one to the owner's own is not",
  ignore: Deno.uid() !== 0,
  async fn() {
    await using scratch = await modelScratch();
    const path = await scratch.write({ externalFile: "model.onnx_data" });
    const weights = `${path}/onnx/model.onnx_data`, away = `${path}-blob`;
    await Deno.rename(weights, away);
    await Deno.symlink(away, weights);
    const add = (name: string) => () =>
      addModel(scratch.layout, name, path, { devices: CPU });
    await add("own")();
    // Now the folder is somebody's, and the weights are still root's.
    await Deno.chown(path, 1000, 1000);
    await assertRejects(add("foreign"), InputError, /link to .*-blob, a file of another/);
  },
});

Deno.test("of a file and its link it is the open file that is asked", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await Deno.mkdir(at("model"));
  await Deno.writeTextFile(at("model/file"), "own");
  await Deno.writeTextFile(at("away"), "far");
  await Deno.symlink(at("away"), at("model/link"));
  const home = homeOf(at("model"));
  await copyFrom(home, at("model/file"), at("copy"), undefined);
  assertEquals(await Deno.readTextFile(at("copy")), "own");
  assertEquals((await Deno.stat(at("copy"))).mode! & 0o777, 0o644);
  const again = () => copyFrom(home, at("model/file"), at("copy"), undefined);
  await assertRejects(again, SysError, /EEXIST/);
  await copyFrom(home, at("model/link"), at("own"), undefined);
  // The folder's owner is another one, also where the folder itself became a link since.
  const other = { ...home, uid: home.uid + 1 };
  await Deno.rename(at("model"), at("moved"));
  await Deno.symlink(folder.path, at("model"));
  for (const path of [at("moved/link"), at("model/away")]) {
    const copy = () => copyFrom(other, path, at("no"), undefined);
    await assertRejects(copy, InputError, /link to .*away, a file of another user/);
  }
  await sh("mkfifo", at("moved/pipe"));
  const pipe = () => copyFrom(homeOf(at("moved")), at("moved/pipe"), at("no"), undefined);
  await assertRejects(pipe, InputError, /pipe: no file/);
  await assertRejects(() => Deno.stat(at("no")), Deno.errors.NotFound);
});

Deno.test("damaged ONNX files give one kind of error, whatever the damage", async () => {
  await using folder = await tempFolder();
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const whole = await Deno.readFile(`${path}/onnx/model.onnx`);
  const file = `${folder.path}/x.onnx`;
  const random = randomFrom(3);
  let refused = 0;
  for (let round = 0; round < 300; round++) {
    let bytes = whole.slice();
    if (round % 3 === 0) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
    else {
      for (let flips = 0; flips < 40; flips++) {
        bytes[Math.floor(random() * (round % 3 === 1 ? 4000 : bytes.length))] = Math
          .floor(random() * 256);
      }
    }
    await Deno.writeFile(file, bytes);
    try {
      readOnnxFile(file);
    } catch (error) {
      assertTrue(error instanceof InputError, String(error));
      refused++;
    }
  }
  assertTrue(refused > 100, `${refused} refused`);
});

Deno.test("a text of 100,000 tokens is cut and counted; none give none", async () => {
  await using scratch = await modelScratch();
  using embedder = await scratch.open();
  const long = "word ".repeat(100_000);
  const cut = await embedder.embed([long, "short", ""]);
  const tokens = (text: string) => embedder.tokenizer.encode(text, 0).ids.length;
  assertEquals(cut.truncated, 1);
  assertEquals(cut.tokens, 64 + tokens("short") + tokens(""));
  const none = await embedder.embed([]);
  assertEquals([none.matrix.length, none.tokens, none.truncated], [0, 0, 0]);
});

Deno.test("a text of which no token is left has a vector, whatever is beside it", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const file = `${path}/tokenizer.json`;
  const definition = JSON.parse(await Deno.readTextFile(file));
  definition.post_processor.single = [{ Sequence: { id: "A", type_id: 0 } }];
  await Deno.writeTextFile(file, JSON.stringify(definition));
  await addModel(scratch.layout, "m", path, { devices: CPU });
  using embedder = await openModel(scratch.layout, "m", CPU);
  const nothing = "\u200b";
  assertEquals(embedder.tokenizer.encode(nothing, 0).ids.length, 0);
  const alone = (await embedder.embed([nothing])).matrix;
  assertTrue(alone.every(Number.isFinite));
  const { matrix } = await embedder.embed([nothing, "a text", nothing]);
  assertTrue(cosine(matrix.subarray(0, 32), alone) > 0.99999);
  assertTrue(cosine(matrix.subarray(64), alone) > 0.99999);
});

Deno.test("an abort ends the work with its reason, between and during runs", async () => {
  await using scratch = await modelScratch();
  using embedder = await scratch.open();
  const reason = new Error("enough");
  const early = AbortSignal.abort(reason);
  const thrown = await assertRejects(
    () => embedder.embed(["a"], { signal: early }),
    Error,
  );
  assertEquals(thrown, reason);
  const stop = new AbortController();
  const work = embedder.embed(sentences(3000), { signal: stop.signal });
  setTimeout(() => stop.abort(reason));
  assertEquals(await assertRejects(() => work, Error), reason);
  // The model is whole afterwards.
  assertEquals((await embedder.embed(["a"])).matrix.length, 32);
});

Deno.test("the event loop turns while the model runs", async () => {
  await using scratch = await modelScratch();
  using embedder = await scratch.open();
  let turns = 0, running = true;
  const work = embedder.embed(sentences(400)).finally(() => running = false);
  while (running) {
    await new Promise((resolve) => setTimeout(resolve));
    turns++;
  }
  await work;
  assertTrue(turns > 3, `${turns} turns`);
});

Deno.test("many calls at once share one model, and closing waits for them", async () => {
  await using scratch = await modelScratch();
  const embedder = await scratch.open();
  const texts = sentences(200);
  const whole = await embedder.embed(texts);
  const parts = Array.from(
    { length: 10 },
    (_, i) => embedder.embed(texts.slice(i * 20, (i + 1) * 20)),
  );
  const joined = new Float32Array(whole.matrix.length);
  (await Promise.all(parts)).forEach((part, i) => joined.set(part.matrix, i * 20 * 32));
  assertEquals(joined, whole.matrix);
  const last = embedder.embed(["last words"]);
  embedder[Symbol.dispose]();
  await last.catch((error) => assertTrue(error instanceof TypeError));
  await assertRejects(() => embedder.embed(["x"]), TypeError, /closed/);
});
