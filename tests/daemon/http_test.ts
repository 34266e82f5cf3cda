import OpenAI from "openai";
import { OpenAIEmbeddings } from "@langchain/openai";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { EmbeddingService } from "../../lib/daemon/embedding_service.ts";
import { Models } from "../../lib/daemon/models.ts";
import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { fakeModel, overSocket, post, testService, turn } from "./support.ts";

Deno.test("the openai client gets the model's own vectors, as floats and as base64", async () => {
  await using service = await testService();
  const client = new OpenAI({
    baseURL: `${service.url}/v1`,
    apiKey: "none",
    maxRetries: 0,
  });
  const texts = ["open port 80", "Größe: ½ €", "x".repeat(5000)];
  const embedder = new BuiltinEmbedder();
  const { matrix } = await embedder.embed(texts);
  for (const format of ["float", "base64", undefined] as const) {
    const answer = await client.embeddings.create({
      model: "builtin",
      input: texts,
      ...(format && { encoding_format: format }),
    });
    assertEquals(answer.data.map(({ index }) => index), [0, 1, 2]);
    answer.data.forEach(({ embedding }, row) => {
      const numbers = typeof embedding === "string"
        ? [...new Float32Array(Uint8Array.fromBase64(embedding).buffer)]
        : embedding;
      assertEquals(numbers.length, 384);
      const expected = matrix.subarray(row * 384, (row + 1) * 384);
      numbers.forEach((number, i) =>
        assertTrue(Math.abs(number - expected[i]!) < 1e-3, `${row} ${i}`)
      );
    });
  }
  const one = await client.embeddings.create({ model: "builtin", input: "just one" });
  assertEquals([one.data.length, one.model, one.object], [1, "builtin", "list"]);
  const names = (await client.models.list()).data.map(({ id }) => id);
  assertEquals(names, ["builtin"]);
});

Deno.test("an answer that is sent in pieces is whole for the openai client", async () => {
  await using service = await testService();
  const client = new OpenAI({
    baseURL: `${service.url}/v1`,
    apiKey: "none",
    maxRetries: 0,
  });
  const input = Array.from({ length: 600 }, (_, n) => `größe ${n}`);
  const ask = (more: object) =>
    client.embeddings.create({ model: "builtin", input, ...more }).asResponse();
  const large = await ask({ encoding_format: "float" });
  assertEquals(large.headers.get("transfer-encoding"), "chunked");
  assertEquals(large.headers.get("content-length"), null);
  const { data, usage } = await large.json();
  assertEquals(usage.total_tokens > 0, true);
  const small = await (await ask({ dimensions: 64, encoding_format: "float" })).json();
  const { matrix } = await new BuiltinEmbedder().embed(input);
  for (const [row, { index, embedding }] of data.entries()) {
    assertEquals([index, embedding.length], [row, 384]);
    const norm = Math.hypot(...embedding.slice(0, 64)) || 1;
    for (let i = 0; i < 64; i++) {
      assertTrue(Math.abs(embedding[i] - matrix[row * 384 + i]!) < 1e-3);
      assertTrue(Math.abs(small.data[row].embedding[i] - embedding[i] / norm) < 1e-5);
    }
  }
});

Deno.test("LangChain's OpenAIEmbeddings works unchanged", async () => {
  await using service = await testService();
  const embeddings = new OpenAIEmbeddings({
    model: "builtin",
    apiKey: "none",
    maxRetries: 0,
    configuration: { baseURL: `${service.url}/v1` },
  });
  const documents = await embeddings.embedDocuments(["open port 80", "disk full"]);
  assertEquals(documents.map((vector) => vector.length), [384, 384]);
  const query = await embeddings.embedQuery("open port 80");
  query.forEach((number, i) => assertTrue(Math.abs(number - documents[0]![i]!) < 1e-6));
});

Deno.test("dimensions shortens to unit length, and refuses more than there are", async () => {
  await using service = await testService();
  const ask = (dimensions: number) =>
    post(`${service.url}/v1/embeddings`, { input: "hello world", dimensions });
  const [whole, short] = [await ask(384), await ask(64)];
  const vector: number[] = short.json.data[0].embedding;
  assertEquals(vector.length, 64);
  assertTrue(Math.abs(Math.hypot(...vector) - 1) < 1e-5);
  const first: number[] = whole.json.data[0].embedding.slice(0, 64);
  const norm = Math.hypot(...first);
  vector.forEach((number, i) => assertTrue(Math.abs(number - first[i]! / norm) < 1e-4));
  assertEquals((await ask(385)).json.error.param, "dimensions");
});

Deno.test("bad requests are refused with what is wrong", async () => {
  await using service = await testService({
    limits: { bodyBytes: 100_000, batchTexts: 8 },
  });
  const cases: [unknown, number, string][] = [
    ["{", 400, "bad_json"],
    ["[]", 400, "bad_json"],
    [{}, 400, "bad_input"],
    [{ input: [] }, 400, "empty_input"],
    [{ input: "" }, 400, "bad_input"],
    [{ input: ["a", ""] }, 400, "bad_input"],
    [{ input: [1, 2, 3] }, 400, "token_input"],
    [{ input: [[1, 2], [3]] }, 400, "token_input"],
    [{ input: Array(9).fill("a") }, 400, "too_many_texts"],
    [{ input: "a", encoding_format: "hex" }, 400, "bad_parameter"],
    [{ input: "a", dimensions: 0 }, 400, "bad_parameter"],
    [{ input: "a", model: "gpt" }, 404, "model_not_found"],
    [{ input: "a", temperature: 1 }, 400, "unknown_parameter"],
    [{ input: "x".repeat(100_000) }, 413, "too_large"],
  ];
  for (const [body, status, code] of cases) {
    const answer = await post(`${service.url}/v1/embeddings`, body);
    assertEquals([answer.status, answer.json.error.code], [status, code]);
  }
  assertEquals((await overSocket(service.socket, "/nothing")).status, 404);
  const wrong = await overSocket(service.socket, "/v1/embeddings");
  assertEquals([wrong.status, wrong.headers.allow], [405, "POST"]);
  assertEquals((await overSocket(service.socket, "/healthz")).text, "ok\n");
  assertEquals((await overSocket(service.socket, "/readyz")).text, "ready\n");
});

Deno.test("similarity finds the nearest cached texts", async () => {
  await using service = await testService();
  const input = ["open port 80 for http", "the disk is full", "restart the machine"];
  await post(`${service.url}/v1/embeddings`, { input });
  const found = await post(`${service.url}/v1/similarity`, {
    input: "port 80 open",
    k: 2,
  });
  assertEquals(found.json.data.length, 2);
  assertEquals(found.json.data[0].text, input[0]);
  const bad = await post(`${service.url}/v1/similarity`, { input: "x", k: 0 });
  assertEquals(bad.json.error.param, "k");
});

Deno.test("a search answers others between two of its slices, and one search waits for another", async () => {
  await using service = await testService();
  const texts = Array.from({ length: 300 }, (_, n) => `text number ${n}`);
  await post(`${service.url}/v1/embeddings`, { input: texts });
  const events: string[] = [];
  let searches = 0;
  const search = (name: string) =>
    post(`${service.url}/v1/similarity`, { input: "text number 7", k: 3 })
      .then(({ json }) => {
        events.push(name);
        assertEquals(json.data[0].text, "text number 7");
      });
  let second: Promise<void> | undefined;
  service.service.slices = {
    sliceMs: 0,
    async pause() {
      if (searches++ > 0) return;
      const { status } = await post(`${service.url}/v1/embeddings`, { input: "else" });
      events.push(`embedded ${status}`);
      second = search("second");
      while (service.server.turnstile.inside < 2) await turn();
      for (let i = 0; i < 5; i++) await turn(); // from its place to the search
      assertEquals(searches, 1, "two searches do not take turns");
    },
  };
  await search("first");
  await second;
  assertEquals(events, ["embedded 200", "first", "second"]);
});

Deno.test("metrics are what Prometheus's own parser reads", async () => {
  await using service = await testService();
  for (let i = 0; i < 3; i++) {
    await post(`${service.url}/v1/embeddings`, { input: ["same", "same", `new ${i}`] });
  }
  await overSocket(service.socket, '/"odd\\path"');
  const { text } = await overSocket(service.socket, "/metrics");
  const path = `${service.folder}/metrics`;
  await Deno.writeTextFile(path, text);
  const script = `
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    for s in family.samples:
        print(family.type, s.name, sorted(s.labels.items()), s.value)`;
  const parsed = await sh("/usr/bin/python3", "-c", script, path);
  assertIncludes(parsed, "counter opdbus_texts_total [('layer', 'memory')] 5.0");
  assertIncludes(parsed, "counter opdbus_texts_total [('layer', 'model')] 4.0");
  assertIncludes(
    parsed,
    "histogram opdbus_request_duration_seconds_bucket [('le', '+Inf'), ('route', '/v1/embeddings')] 3.0",
  );
  assertIncludes(
    parsed,
    "opdbus_requests_total [('route', 'other'), ('status', '404')] 1.0",
  );
});

Deno.test("a token is asked for where one is set", async () => {
  await using service = await testService({ token: "secret" });
  const url = `${service.url}/v1/embeddings`, body = { input: "a" };
  assertEquals((await post(url, body)).status, 401);
  assertEquals((await post(url, body, { authorization: "Bearer secreT" })).status, 401);
  assertEquals((await post(url, body, { authorization: "secret" })).status, 401);
  assertEquals((await post(url, body, { authorization: "Bearer secret" })).status, 200);
  // A browser asks for it as a password.
  const asked = await fetch(`${service.url}/v1/models`);
  await asked.body?.cancel();
  assertIncludes(asked.headers.get("www-authenticate")!, "Basic realm=");
  const basic = (text: string) => ({ authorization: `Basic ${btoa(text)}` });
  assertEquals((await post(url, body, basic("anybody:secret"))).status, 200);
  assertEquals((await post(url, body, basic("secret:"))).status, 401);
  for (const probe of ["/healthz", "/readyz"]) {
    assertEquals((await overSocket(service.socket, probe)).status, 200);
  }
  assertEquals((await overSocket(service.socket, "/metrics")).status, 401);
});

Deno.test("a page of another site cannot make it compute", async () => {
  await using service = await testService();
  const url = `${service.url}/v1/embeddings`;
  const from = (site: string) => post(url, { input: "a" }, { "sec-fetch-site": site });
  assertEquals((await from("cross-site")).status, 403);
  assertEquals((await from("same-origin")).status, 200);
});

Deno.test("one text that many ask for at once is computed once", async () => {
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  const model = fakeModel(8, () => open);
  await using service = await testService({ embedders: { test: model } });
  const asked = Array.from(
    { length: 10 },
    () => post(`${service.url}/v1/embeddings`, { input: "the same" }),
  );
  while (service.server.turnstile.inside < 10) await turn();
  for (let i = 0; i < 10; i++) await turn(); // from its place to the cache
  release();
  const vectors = (await Promise.all(asked)).map(({ json }) => json.data[0].embedding);
  for (const vector of vectors) assertEquals(vector, vectors[0]);
  assertEquals(model.calls, [["the same"]]);
  assertEquals(service.service.metrics.shared.get(), 9);
});

Deno.test("a client that goes while its text is computed frees its place", async () => {
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  const model = fakeModel(8, () => open);
  await using service = await testService({
    embedders: { test: model },
    limits: { concurrent: 1, waiting: 5 },
  });
  const stop = new AbortController();
  const waiting = fetch(`${service.url}/v1/embeddings`, {
    method: "POST",
    body: JSON.stringify({ input: "first" }),
    signal: stop.signal,
  });
  while (model.calls.length === 0) await turn();
  stop.abort();
  await assertRejects(() => waiting, Error);
  release();
  assertEquals(
    (await post(`${service.url}/v1/embeddings`, { input: "next" })).status,
    200,
  );
});

Deno.test("a vector from memory is a copy: its slot may be another's before it is sent", async () => {
  await using scratch = await tempFolder("op-dbus-serve-");
  const model = fakeModel(8);
  using cache = EmbeddingCache.open(scratch.path, { arenaBytes: 1 }); // a slot or so
  const models = new Models({
    defaultName: "test",
    names: () => ["test"],
    open: () => Promise.resolve(model),
  });
  const service = new EmbeddingService(cache, models);
  const texts = Array.from({ length: 1000 }, (_, n) => `text ${n}`);
  const { matrix } = await cache.getOrEmbed(texts, model);
  const last = texts.findLast((text) => cache.peek(text, model.identity))!;
  const asked = service.embed([last], model, new AbortController().signal);
  for (let turns = 0; turns < 3; turns++) {
    for (const text of texts.slice(0, 500)) cache.lookup(text, model.identity);
  }
  const row = texts.indexOf(last) * 8;
  assertEquals([...(await asked).matrix], [...matrix.subarray(row, row + 8)]);
});
