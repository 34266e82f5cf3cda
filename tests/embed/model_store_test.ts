import { InputError, LockedError, OpError } from "../../lib/base/errors.ts";
import { tryLock } from "../../lib/base/lock.ts";
import { addModel } from "../../lib/embed/model/add.ts";
import { openModel } from "../../lib/embed/model/open.ts";
import {
  defaultModel,
  findModel,
  listModels,
  modelFolder,
  removeModel,
  setDefaultModel,
} from "../../lib/embed/model/store.ts";
import { verifyModel } from "../../lib/embed/model/verify.ts";
import { Layout } from "../../lib/base/layout.ts";
import { writeModelFolder } from "../../scripts/models/folder.ts";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { CPU, modelScratch } from "./support.ts";

Deno.test("an added model is recorded, listed, made the default and removed", async () => {
  await using scratch = await modelScratch();
  const { layout } = scratch;
  assertEquals(listModels(layout), []);
  assertEquals(defaultModel(layout), null);
  const path = await scratch.write({
    pooling: "cls",
    maxTokens: 40,
    prompts: { query: "query: ", passage: "passage: " },
  });
  const record = await addModel(layout, "tiny", path, { devices: CPU });
  assertEquals(record.dimensions, 32);
  assertEquals([record.pooling, record.normalisation], ["cls", "l2"]);
  assertEquals(record.prefixes, { query: "query: ", passage: "passage: " });
  assertEquals([record.max_tokens, record.precision], [40, "fp32"]);
  assertEquals(record.tokenizer, "wordpiece");
  assertEquals(listModels(layout), [record]);
  await verifyModel(record, modelFolder(layout, "tiny"));
  await setDefaultModel(layout, "tiny");
  assertEquals(defaultModel(layout), "tiny");
  await removeModel(layout, "tiny");
  assertEquals([listModels(layout), defaultModel(layout)], [[], null]);
  assertEquals([...Deno.readDirSync(layout.models)].map((e) => e.name), [".default"]);
});

Deno.test("the digest is of the content: names share it, another seed does not", async () => {
  await using scratch = await modelScratch();
  const { layout } = scratch;
  const one = await scratch.write(), other = await scratch.write({ seed: 2 });
  const a = await addModel(layout, "a", one, { devices: CPU });
  const b = await addModel(layout, "b", one, { devices: CPU });
  const c = await addModel(layout, "c", other, { devices: CPU });
  assertEquals(a.digest, b.digest);
  assertTrue(a.digest !== c.digest);
});

Deno.test("prefixes go before texts by role, and into the identity", async () => {
  await using scratch = await modelScratch();
  const prompts = { query: "query: ", passage: "passage: " };
  const path = await scratch.write({ prompts });
  await addModel(scratch.layout, "e5", path, { devices: CPU });
  await addModel(scratch.layout, "bare", path, {
    devices: CPU,
    queryPrefix: "",
    passagePrefix: "",
  });
  const embed = async (name: string, role: "query" | "passage", text: string) => {
    using embedder = await openModel(scratch.layout, name, { ...CPU, role });
    assertEquals(embedder.identity.prefix, name === "bare" ? "" : prompts[role]);
    return (await embedder.embed([text])).matrix;
  };
  assertEquals(await embed("e5", "query", "x"), await embed("bare", "query", "query: x"));
  assertEquals(
    await embed("e5", "passage", "x"),
    await embed("bare", "query", "passage: x"),
  );
});

Deno.test("E5 and BGE get their prefixes by name; flags go before", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const prefixes = async (source: string, more = {}) =>
    (await addModel(scratch.layout, "m", path, {
      devices: CPU,
      source,
      replace: true,
      ...more,
    })).prefixes;
  assertEquals(await prefixes("hub/intfloat/e5-small-v2@main"), {
    query: "query: ",
    passage: "passage: ",
  });
  const bge = await prefixes("hub/BAAI/bge-small-en-v1.5@main");
  assertEquals(bge.passage, "");
  assertTrue(bge.query.startsWith("Represent this sentence"));
  assertEquals(await prefixes("all-MiniLM-L6-v2"), { query: "", passage: "" });
  assertEquals(await prefixes("x/e5-small", { queryPrefix: "Q " }), {
    query: "Q ",
    passage: "passage: ",
  });
});

Deno.test("a name that is taken needs replace, which switches in one step", async () => {
  await using scratch = await modelScratch();
  const { layout } = scratch;
  const first = await scratch.write(), second = await scratch.write({ seed: 9 });
  const a = await addModel(layout, "m", first, { devices: CPU });
  const again = () => addModel(layout, "m", second, { devices: CPU });
  await assertRejects(again, InputError, /already/);
  assertEquals(findModel(layout, "m").digest, a.digest);
  const b = await addModel(layout, "m", second, { devices: CPU, replace: true });
  assertEquals(findModel(layout, "m").digest, b.digest);
  assertEquals([...Deno.readDirSync(layout.models)].map((e) => e.name), ["m"]);
});

Deno.test("names that could leave the folder or hide are refused", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  for (const name of ["", ".", "..", "../x", "a/b", ".hidden", "A", "builtin", "x\0"]) {
    const add = () => addModel(scratch.layout, name, path, { devices: CPU });
    await assertRejects(add, InputError, /as a name/);
  }
});

Deno.test("an unknown model is answered with the nearest one", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  await addModel(scratch.layout, "minilm", path, { devices: CPU });
  const error = assertThrows(() => findModel(scratch.layout, "minlm"), InputError);
  assertEquals(error.hint, "did you mean minilm?");
});

Deno.test("what a killed add left is swept; another op-dbus's lock is respected", async () => {
  await using scratch = await modelScratch();
  const { layout } = scratch;
  const path = await scratch.write();
  await Deno.mkdir(`${layout.models}/.tmp-1-1-m/1_Pooling`, { recursive: true });
  await Deno.mkdir(layout.meta);
  using lock = tryLock(layout.lock("models"))!;
  const add = () => addModel(layout, "m", path, { devices: CPU });
  await assertRejects(add, LockedError);
  lock[Symbol.dispose]();
  await add();
  assertEquals([...Deno.readDirSync(layout.models)].map((e) => e.name), ["m"]);
});

Deno.test("a model whose files changed is not opened, or found by verify", async () => {
  await using scratch = await modelScratch();
  const { layout } = scratch;
  const path = await scratch.write();
  const record = await addModel(layout, "m", path, { devices: CPU });
  const folder = modelFolder(layout, "m"), file = `${folder}/model.onnx`;
  const bytes = await Deno.readFile(file);
  bytes[bytes.length - 40]! ^= 1;
  await Deno.writeFile(file, bytes);
  await assertRejects(() => verifyModel(record, folder), OpError, /model\.onnx/);
  await Deno.truncate(file, 1000);
  await assertRejects(() => openModel(layout, "m", CPU), OpError, /1000 bytes/);
  await Deno.remove(file);
  await assertRejects(() => openModel(layout, "m", CPU), OpError, /is missing/);
  for (const damaged of ['{"format":1', '{"format":2}', "[]"]) {
    await Deno.writeTextFile(`${folder}/model.json`, damaged);
    assertThrows(() => listModels(layout), OpError, /the model's record .*model\.json: /);
  }
});

platformTest("a model on btrfs is added as a reflink", async () => {
  await using disk = await btrfsScratch(256);
  const layout = new Layout(`${disk.path}/root`);
  await Deno.mkdir(layout.root);
  await writeModelFolder(`${disk.path}/model`, {});
  await addModel(layout, "m", `${disk.path}/model`, { devices: CPU });
  await sh("sync", "-f", disk.path);
  const copy = `${modelFolder(layout, "m")}/model.onnx`;
  const [, total, exclusive] = /\n\s*(\d+)\s+(\d+)\s/.exec(
    await sh("btrfs", "filesystem", "du", "--raw", copy),
  )!;
  assertTrue(Number(total) > 300_000, `total ${total}`);
  assertEquals(exclusive, "0");
});

platformTest("a read-only root is refused in one line, nothing is left", async () => {
  await using disk = await btrfsScratch(256);
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const layout = new Layout(`${disk.path}/root`);
  await Deno.mkdir(layout.root);
  await sh("mount", "-o", "remount,ro", disk.path);
  const add = () => addModel(layout, "m", path, { devices: CPU });
  const error = await assertRejects(add, OpError, /Cannot add the model m/);
  assertEquals(error.code, "read_only");
});

platformTest("a full disk is reported, and nothing of the model is left", async () => {
  await using disk = await btrfsScratch(110, "", ["--mixed"]);
  await using scratch = await modelScratch();
  const layout = new Layout(`${disk.path}/root`);
  await Deno.mkdir(layout.root);
  const path = await scratch.write({
    shape: {
      layers: 1,
      hidden: 512,
      heads: 8,
      intermediate: 512,
      vocabulary: 60_000,
      positions: 64,
    },
  });
  const add = () => addModel(layout, "m", path, { devices: CPU });
  const error = await assertRejects(add, OpError, /Cannot add the model m/);
  assertEquals(error.code, "no_space");
  assertEquals(listModels(layout), []);
  assertEquals([...Deno.readDirSync(layout.models)], []);
});
