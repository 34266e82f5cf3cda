import http from "node:http";
import { UPSTREAM_DEFAULTS, UpstreamEmbedder } from "../../lib/daemon/upstream.ts";
import { OpError } from "../../lib/base/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { fakeModel, testService } from "./support.ts";

type Answer = { status?: number; body: unknown; headers?: Record<string, string> };

/** Another endpoint, whose answers a test decides. */
async function endpoint(answer: (texts: string[], call: number) => Answer | "cut") {
  const asked: string[][] = [];
  const server = http.createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (piece: string) => text += piece);
    request.on("end", () => {
      const { input } = JSON.parse(text);
      asked.push(input);
      const given = answer(input, asked.length);
      if (given === "cut") return void request.socket.destroy();
      response.writeHead(given.status ?? 200, given.headers);
      response.end(
        typeof given.body === "string" ? given.body : JSON.stringify(given.body),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    asked,
    url: `http://127.0.0.1:${port}/v1`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const vector = (text: string) => [text.length, 1, 2, 3];
const good = (texts: string[]) => ({
  data: texts.map((text, index) => ({ index, embedding: vector(text) })),
  usage: { prompt_tokens: texts.length * 2 },
});

function embedder(url: string, more: object = {}) {
  const base = { ...UPSTREAM_DEFAULTS, url, model: "m", dimensions: 4 };
  return new UpstreamEmbedder({ ...base, ...more });
}

Deno.test("misses go to the other endpoint in batches, in any order of its answer", async () => {
  await using other = await endpoint((texts) => {
    const body = good(texts);
    body.data.reverse();
    return { body };
  });
  const texts = Array.from({ length: 10 }, (_, n) => "x".repeat(n + 1));
  const { matrix, tokens } = await embedder(other.url, { batchTexts: 4 }).embed(texts);
  assertEquals(other.asked.map((batch) => batch.length), [4, 4, 2]);
  assertEquals([...matrix], texts.flatMap(vector));
  assertEquals(tokens, 20);
});

Deno.test("what does not fit the question is refused and never cached", async () => {
  const bad: ((texts: string[]) => unknown)[] = [
    () => "not json",
    () => null,
    () => ({ data: "none" }),
    (texts) => ({ data: good(texts).data.slice(1) }),
    (texts) => ({ data: [...good(texts).data, good(texts).data[0]] }),
    (texts) => ({ data: good(texts).data.map((item) => ({ ...item, index: 0 })) }),
    (texts) => ({ data: good(texts).data.map(({ embedding }) => ({ embedding })) }),
    (texts) => ({
      data: good(texts).data.map((item) => ({ ...item, index: item.index + 1 })),
    }),
    (texts) => ({ data: texts.map((_, index) => ({ index, embedding: [1, 2, 3] })) }),
    (texts) => ({ data: texts.map((_, index) => ({ index, embedding: [] })) }),
    (texts) => ({ data: texts.map((_, index) => ({ index, embedding: [0, 0, 0, 0] })) }),
    (texts) => ({
      data: texts.map((_, index) => ({ index, embedding: [1e-60, 0, -1e-50, 0] })),
    }),
    (texts) => ({
      data: texts.map((_, index) => ({ index, embedding: [1, null, 3, 4] })),
    }),
    (texts) => ({
      data: texts.map((_, index) => ({ index, embedding: ["1", 2, 3, 4] })),
    }),
    (texts) => ({
      data: texts.map((_, index) => ({ index, embedding: [1e300, 2, 3, 4] })),
    }),
    (texts) => ({ data: texts.map((_, index) => ({ index, embedding: "NaN" })) }),
    () => "x".repeat(200_000),
  ];
  let current = bad[0]!;
  await using other = await endpoint((texts) => ({ body: current(texts) }));
  await using service = await testService({ embedders: { m: embedder(other.url) } });
  const ask = (input: string[]) =>
    fetch(`${service.url}/v1/embeddings`, {
      method: "POST",
      body: JSON.stringify({ input }),
    });
  for (const [at, one] of bad.entries()) {
    current = one;
    const response = await ask(["a", "bb"]);
    assertEquals([response.status, (await response.json()).error.code], [
      502,
      "upstream_answer",
    ], String(at));
  }
  assertEquals(other.asked.length, bad.length, "a bad answer is not asked for again");
  current = good;
  const { data } = await (await ask(["a", "bb"])).json();
  assertTrue(Math.abs(data[1].embedding[0] / data[1].embedding[3] - 2 / 3) < 1e-3);
  await (await ask(["a", "bb", "a"])).json();
  assertEquals(other.asked.length, bad.length + 1);
});

Deno.test("what may pass is tried again, what may not is not", async () => {
  await using flaky = await endpoint((texts, call) => {
    if (call === 1) return { status: 503, body: "<p>busy</p>".repeat(100_000) };
    if (call === 2) return "cut";
    if (call === 3) return { status: 429, body: "", headers: { "retry-after": "0" } };
    return { body: good(texts) };
  });
  assertEquals((await embedder(flaky.url).embed(["a"])).tokens, 2);
  assertEquals(flaky.asked.length, 4);
  await using refusing = await endpoint(() => ({ status: 401, body: "" }));
  await assertRejects(() => embedder(refusing.url).embed(["a"]), OpError, /status 401/);
  assertEquals(refusing.asked.length, 1);
  await using dead = await endpoint(() => ({ status: 500, body: "" }));
  const tried = embedder(dead.url, { attempts: 2 }).embed(["a"]);
  await assertRejects(() => tried, OpError, /status 500/);
  assertEquals(dead.asked.length, 2);
});

Deno.test("an endpoint that redirects or hangs is given up", async () => {
  await using other = await endpoint(() => ({
    status: 302,
    body: "",
    headers: { location: "http://127.0.0.1:1/" },
  }));
  const lost = embedder(other.url, { attempts: 1 }).embed(["a"]);
  await assertRejects(() => lost, OpError, /Cannot reach/);
  const stop = new AbortController();
  const waiting = embedder("http://127.0.0.1:9/v1", { attempts: 99 })
    .embed(["a"], { signal: stop.signal });
  stop.abort(new Error("stopped"));
  await assertRejects(() => waiting, Error, /stopped/);
});

Deno.test("op-dbus serves another op-dbus", async () => {
  const model = fakeModel(8);
  await using first = await testService({ embedders: { m: model } });
  const upstream = embedder(`${first.url}/v1`, { dimensions: 8 });
  await using second = await testService({ embedders: { m: upstream } });
  const ask = async (url: string) => {
    const body = JSON.stringify({ input: ["a", "b"], encoding_format: "base64" });
    const response = await fetch(`${url}/v1/embeddings`, { method: "POST", body });
    return (await response.json()).data;
  };
  const [a, b] = [await ask(second.url), await ask(first.url)];
  assertEquals(a.length, b.length);
  assertEquals(model.calls.length, 1);
});
