import { writeModelFolder } from "../../scripts/models/folder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { startServe } from "./serve_process.ts";
import { overSocket } from "./support.ts";

const ask = async (socket: string, request: object) =>
  JSON.parse(
    (await overSocket(socket, "/v1/embeddings", JSON.stringify(request))).text,
  );

Deno.test("serve --model answers with that model's vectors, others by their name", async () => {
  await using root = await plainRoot();
  for (const [seed, name] of ["tiny", "other"].entries()) {
    const folder = `${root.scratch.path}/${name}`;
    await writeModelFolder(folder, { seed: seed + 1 });
    await root.json("model", "add", name, folder);
  }
  const texts = ["open port 80", "disk full on /dev/vda"];
  const serve = await startServe(root, ["--model", "tiny", "--device", "cpu"]);
  const served = await ask(serve.socket, { input: texts });
  assertEquals(served.model, "tiny");
  const other = await ask(serve.socket, { input: texts, model: "other" });
  assertEquals(other.model, "other");
  const { cache } = await root.json("status", "--socket", serve.socket);
  assertEquals(cache.counts, { memory: 0, shared: 0, disk: 0, model: 4 });
  assertEquals(await serve.stop(), 0);
  // Another engine, another process, no cache; what is left is the codec's rounding.
  for (const [name, { data }] of Object.entries({ tiny: served, other })) {
    await root.json("cache", "clear", "--embeddings", "--yes");
    const args = ["embed", ...texts, "--model", name, "--device", "wasm"];
    const { embeddings } = await root.json(...args);
    data.forEach(({ embedding }: { embedding: number[] }, i: number) => {
      const expected: number[] = embeddings[i].vector;
      const cosine = embedding.reduce((sum, value, d) => sum + value * expected[d]!, 0);
      assertTrue(cosine > 0.9995, `${name}, ${texts[i]}: ${cosine}`);
    });
  }
});

Deno.test("serve --model of a name that is none ends at once", async () => {
  await using root = await plainRoot();
  const socket = `${root.scratch.path}/serve.sock`;
  const args = ["serve", "--socket", socket, "--model", "tiny"];
  const { code, stderr } = await root.run(args);
  assertEquals(code, 2);
  assertIncludes(stderr, "The model tiny does not exist");
});
