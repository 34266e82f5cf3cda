import net from "node:net";
import OpenAI from "openai";
import { OpenAIEmbeddings } from "@langchain/openai";
import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { sh } from "../support/scratch.ts";
import { fakeModel, overSocket, testService } from "./support.ts";

async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const { status } = response;
  return { status, headers: response.headers, json: await response.json() };
}

/** One turn of the event loop. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

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

/** What a raw socket hears until the other side closes; `""` when it is cut off. */
function hear(path: string, ...say: (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = net.connect(path, () => say.forEach((piece) => socket.write(piece)));
    socket.on("data", (piece) => text += piece.toString("latin1"));
    socket.on("error", () => {}); // cut off: what was heard counts
    socket.on("close", () => resolve(text));
  });
}

Deno.test("what is not HTTP is told so, and the connection ends", async () => {
  await using service = await testService();
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n";
  const cases: [string, string][] = [
    ["GARBAGE\r\n\r\n", "400"],
    ["GET / HTTP/9.9\r\n\r\n", "400"],
    [`${head}content-length: 1\r\ncontent-length: 2\r\n\r\n{}`, "400"],
    [`${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}`, "400"],
    [`${head}content-length: -2\r\n\r\n{}`, "400"],
    [`${head}transfer-encoding: chunked\r\n\r\nnonsense\r\n`, "400"],
    [`${head}long: ${"x".repeat(40_000)}\r\n\r\n`, "431"],
    ["\x16\x03\x01\x02\x00\x01\x00", "400"],
    // Its length alone is enough to refuse it: nothing is asked for.
    [`${head}expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n`, "413"],
  ];
  for (const [text, status] of cases) {
    const heard = await hear(service.socket, text);
    assertEquals(heard.slice(0, 12), `HTTP/1.1 ${status}`, text.slice(0, 80));
    assertIncludes(heard, '{"error":{"message":"');
  }
});

Deno.test("connections over the limit hear 503, and the others go on", async () => {
  await using service = await testService({ limits: { connections: 3 } });
  const body = '{"input":"a"}';
  const request = `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
  const open: net.Socket[] = [];
  const first = () =>
    new Promise<string>((resolve) => {
      const socket = net.connect(service.socket, () => socket.write(request));
      socket.once("data", (piece) => resolve(piece.toString("latin1")));
      socket.on("error", () => resolve("cut off"));
      open.push(socket);
    });
  for (let i = 0; i < 3; i++) assertIncludes(await first(), "HTTP/1.1 200");
  const heard = await hear(service.socket, request);
  assertIncludes(heard, "HTTP/1.1 503");
  assertIncludes(heard, /retry-after: 1/i);
  open.forEach((socket) => socket.destroy());
  while ((await overSocket(service.socket, "/v1/embeddings", body)).status !== 200);
});

Deno.test("request bodies together are bounded, whole or not", async () => {
  await using service = await testService({ limits: { heldBytes: 300_000 } });
  const head =
    "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n";
  const slow = net.connect(service.socket, () => slow.write(head + "x".repeat(199_999)));
  slow.on("error", () => {}); // destroyed below
  while (service.server.bodyBytes < 199_999) await turn();
  const ask = () => post(`${service.url}/v1/embeddings`, { input: "x".repeat(150_000) });
  const { status, json, headers } = await ask();
  assertEquals([status, json.error.code], [503, "overloaded"]);
  assertEquals(headers.get("retry-after"), "1");
  slow.destroy();
  while (service.server.bodyBytes > 0) await turn();
  assertEquals((await ask()).status, 200);
  assertEquals(service.server.bodyBytes, 0);
});

Deno.test("clients that ask and do not read are cut off, the oldest first", async () => {
  await using service = await testService({
    embedders: { test: fakeModel(1024) },
    limits: { heldBytes: 8_000_000, bodyTimeoutMs: 60_000 },
  });
  const body = JSON.stringify({ input: Array.from({ length: 200 }, (_, n) => `t ${n}`) });
  const request = `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
  const sockets = Array.from({ length: 10 }, () => net.connect(service.socket));
  for (const socket of sockets) {
    socket.on("error", () => {}); // cut off is what is expected
    socket.pause();
    socket.write(request);
  }
  const { unsent } = service.server;
  while (unsent.cut === 0) await turn();
  assertTrue(unsent.heldBytes <= 8_000_000, `${unsent.heldBytes}`);
  const { status, text } = await overSocket(service.socket, "/v1/embeddings", body);
  assertEquals([status, JSON.parse(text).data.length], [200, 200]);
  sockets.forEach((socket) => socket.destroy());
  while (unsent.heldBytes > 0) await turn();
});

Deno.test("load beyond capacity is answered with 503 or 429 and a time to wait", async () => {
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  const model = fakeModel(8, () => open);
  await using service = await testService({
    embedders: { test: model },
    limits: { concurrent: 2, waiting: 3 },
  });
  const asked = Array.from(
    { length: 20 },
    (_, i) => post(`${service.url}/v1/embeddings`, { input: `text ${i}` }),
  );
  // All but the two inside and the three waiting are refused before any is answered.
  const first = await Promise.race(asked);
  assertEquals([first.status, first.headers.get("retry-after")], [503, "1"]);
  while (
    service.service.metrics.requests.get({ route: "/v1/embeddings", status: "503" }) < 15
  ) {
    await turn();
  }
  release();
  const statuses = (await Promise.all(asked)).map(({ status }) => status).sort();
  assertEquals(statuses, [...Array(5).fill(200), ...Array(15).fill(503)]);

  await using limited = await testService({ limits: { perSecond: 2 } });
  const many = await Promise.all(
    Array.from(
      { length: 12 },
      () => post(`${limited.url}/v1/embeddings`, { input: "a" }),
    ),
  );
  const refused = many.filter(({ status }) => status === 429);
  assertTrue(refused.length >= 7, `${refused.length} refused`);
  assertTrue(Number(refused[0]!.headers.get("retry-after")) >= 1);
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

Deno.test("slow, silent and broken clients hold up nobody", async () => {
  await using service = await testService({ limits: { bodyTimeoutMs: 300 } });
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n";
  const starts = [
    "",
    "POST /v1/embed",
    head,
    head + '{"input":',
    "\x00\x01garbage\r\n\r\n",
  ];
  const closed = starts.map((start) =>
    new Promise<void>((resolve) => {
      const socket = net.connect(service.socket, () => socket.write(start));
      socket.resume();
      socket.on("error", () => {}); // cut off is what is expected
      socket.on("close", () => resolve());
    })
  );
  for (let i = 0; i < 50; i++) {
    const body = JSON.stringify({ input: `quick ${i}` });
    assertEquals((await overSocket(service.socket, "/v1/embeddings", body)).status, 200);
  }
  await Promise.all(closed);
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
