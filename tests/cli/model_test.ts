import { writeModelFolder } from "../../scripts/models/folder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot, type TestRoot } from "../support/cli_root.ts";

async function rootWithModel(): Promise<TestRoot & { folder: string }> {
  const root = await plainRoot();
  const folder = `${root.scratch.path}/tiny`;
  await writeModelFolder(folder, { prompts: { query: "ask: ", passage: "say: " } });
  await root.json("model", "add", "tiny", folder);
  return { ...root, folder };
}

Deno.test("a model is added, listed, used, compared and removed", async () => {
  await using root = await rootWithModel();
  const { models, device, devices } = await root.json("model", "list", "--verify");
  assertEquals(models.map((m: { name: string }) => m.name), ["tiny"]);
  assertTrue(devices.some((d: { device: string }) => d.device === device));
  const embedded = await root.json("embed", "--model", "tiny", "disk full", "cat");
  assertEquals([embedded.dimensions, embedded.embeddings.length], [32, 2]);
  const drift = await root.json(
    ...["cache", "verify", "--drift", "9", "--model", "tiny", "--device", "wasm"],
  );
  assertEquals([drift.compared, drift.drifted], [2, []]);
  assertTrue(drift.lowest_cosine > 0.99999, String(drift.lowest_cosine));
  const { matches } = await root.json("cache", "search", "cat", "--model", "tiny");
  assertEquals(matches.length, 2);
  const found = await root.json("cache", "get", "cat", "--model", "tiny");
  assertEquals(found.vector.length, 32);
  const kept = await root.json("model", "remove", "tiny", "--dry-run");
  assertEquals([kept.vectors, kept.vectors_dropped], [2, 0]);
  const gone = await root.json("model", "remove", "tiny", "--drop-vectors", "--yes");
  assertEquals(gone.vectors_dropped, 2);
  assertEquals((await root.json("cache", "stats")).entries, 0);
});

Deno.test("another model's stored vector is never answered", async () => {
  await using root = await rootWithModel();
  await writeModelFolder(`${root.scratch.path}/other`, { seed: 2 });
  await root.json("model", "add", "other", `${root.scratch.path}/other`);
  const vectorOf = async (model: string) =>
    (await root.json("embed", "same text", "--model", model)).embeddings[0].vector;
  const tiny = await vectorOf("tiny"), other = await vectorOf("other");
  assertTrue(tiny.join() !== other.join());
  assertEquals(await vectorOf("tiny"), tiny);
});

Deno.test("the default model is chosen by command, and overruled by the settings", async () => {
  await using root = await rootWithModel();
  assertEquals(await root.json("model", "default"), { default: "builtin" });
  assertEquals(await root.json("model", "default", "tiny"), { default: "tiny" });
  assertEquals((await root.json("embed", "x")).dimensions, 32);
  const env = { OPDBUS_EMBED_MODEL: "builtin" };
  const overruled = await root.run(["embed", "x", "--json"], { env });
  assertEquals(JSON.parse(overruled.stdout).dimensions, 384);
  const unknown = await root.run(["embed", "x", "--model", "tinny"]);
  assertEquals(unknown.code, 2);
  assertIncludes(unknown.stderr, "did you mean tiny?");
});

Deno.test("drift is exit 3: a model whose weights changed under its name", async () => {
  await using root = await rootWithModel();
  await root.json("embed", "one", "two", "--model", "tiny");
  // The record keeps its digest, the weights do not: as a bad disk would have it.
  const file = `${root.path}/models/tiny/model.onnx`;
  const { size } = await Deno.stat(file);
  await writeModelFolder(`${root.scratch.path}/other`, { seed: 3 });
  await Deno.copyFile(`${root.scratch.path}/other/onnx/model.onnx`, file);
  assertEquals((await Deno.stat(file)).size, size);
  const drift = await root.run(["cache", "verify", "--drift", "5", "--model", "tiny"]);
  assertEquals(drift.code, 3);
  assertIncludes(drift.stderr, "2 of 2 vectors have drifted");
  const listed = await root.run(["model", "list", "--verify"]);
  assertEquals(listed.code, 1);
  assertIncludes(listed.stderr, "tiny is damaged: model.onnx");
});

Deno.test("a text that is cut is reported, never silent", async () => {
  await using root = await rootWithModel();
  const long = "word ".repeat(500);
  const { stderr, code } = await root.run(["embed", long, "--model", "tiny"]);
  assertEquals(code, 0);
  assertIncludes(stderr, "1 texts were cut at the model's limit");
});

Deno.test("bad models and bad pins are exit 2, one line", async () => {
  await using root = await plainRoot();
  for (
    const args of [
      ["model", "add", "x", "/nowhere"],
      ["model", "add", "../x", root.path],
      ["model", "remove", "nothing", "--yes"],
      ["model", "default", "nothing"],
      ["model", "pull", "a/b", "--sha256", "model.onnx=12"],
      ["model", "pull", "../.."],
      ["model", "pull", "a/b", "--set", "models.hub=ftp://127.0.0.1"],
      ["embed", "x", "--device", "abacus"],
    ]
  ) {
    const { code, stderr } = await root.run(args);
    assertEquals(code, 2, args.join(" "));
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  assertEquals((await root.json("model", "list")).models, []);
});

Deno.test("doctor names the engine, and why not a faster one", async () => {
  await using root = await plainRoot();
  const { facts } = await root.json("doctor");
  const fact = facts.find((one: { name: string }) => one.name === "onnx");
  assertIncludes(fact.found, /cpu|cuda/);
});
