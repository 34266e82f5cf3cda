import { assertEquals, assertIncludes } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { sh } from "../support/scratch.ts";

Deno.test("embed: NumPy reads what --output npy and raw write, equal to the JSON", async () => {
  await using root = await plainRoot();
  const texts = ["open port 80", "close port 443", "größe 漢字"];
  const { embeddings } = await root.json("embed", ...texts);
  const files = { npy: `${root.scratch.path}/v.npy`, raw: `${root.scratch.path}/v.raw` };
  for (const form of ["npy", "raw"] as const) {
    const { stdoutBytes } = await root.run(["embed", ...texts, "--output", form]);
    await Deno.writeFile(files[form], stdoutBytes);
  }
  const script = `
import json, sys, numpy
a = numpy.load(sys.argv[1])
b = numpy.fromfile(sys.argv[2], dtype="<f4").reshape(a.shape)
assert (a == b).all() and a.dtype == numpy.float32
print(json.dumps(a.tolist()))`;
  const printed = await sh("/usr/bin/python3", "-c", script, files.npy, files.raw);
  const rows = (JSON.parse(printed) as number[][]).map((row) => row.map(Math.fround));
  assertEquals(rows, embeddings.map((e: { vector: number[] }) => e.vector));
});

Deno.test("embed: JSON lines in, JSON lines out, ids kept", async () => {
  await using root = await plainRoot();
  const stdin = '{"id":7,"text":"a b"}\n"plain"\n{"id":{"k":[1]},"text":"a b"}\n';
  const { code, stdout } = await root.run(["embed", "--jsonl"], { stdin });
  assertEquals(code, 0);
  const rows = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(rows.map(({ id }) => id), [7, undefined, { k: [1] }]);
  assertEquals(rows[0].vector, rows[2].vector);
});

Deno.test("embed: the second process answers every text from the cache, the same", async () => {
  await using root = await plainRoot();
  const file = new URL("../data/host-notes.txt", import.meta.url).pathname;
  const first = await root.json("embed", "--file", file);
  const second = await root.json("embed", "--file", file);
  assertEquals(second.embeddings, first.embeddings);
  assertEquals(second.stats.misses, 0);
  assertEquals(second.stats.hits, second.stats.texts);
  const { stderr } = await root.run(["embed", "--file", file]);
  assertIncludes(stderr, /298 texts: 298 hits, 0 misses/);
});

Deno.test("embed: arguments and --file together, and an unknown model, are refused", async () => {
  await using root = await plainRoot();
  assertEquals((await root.run(["embed", "a", "--file", "-"])).code, 2);
  const { code, stderr } = await root.run(["embed", "a", "--model", "nosuch"]);
  assertEquals(code, 2);
  assertIncludes(stderr, "nosuch");
});

Deno.test("embed: any codec that is configured; entries of less precision are replaced", async () => {
  await using root = await plainRoot();
  for (const codec of ["int8", "int12", "f16", "f32-zstd", "f32"]) {
    const env = { OPDBUS_CACHE_CODEC: codec };
    const { code, stdout, stderr } = await root.run(["embed", "some text"], { env });
    assertEquals(code, 0, stderr);
    assertEquals(JSON.parse(stdout).stats.misses, codec === "f32" ? 0 : 1, codec);
  }
});
