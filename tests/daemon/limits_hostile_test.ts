import net from "node:net";
import { UnsentAnswers } from "../../lib/daemon/unsent.ts";
import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import {
  fakeModel,
  hear,
  overSocket,
  post,
  rawRequest,
  testService,
  turn,
} from "./support.ts";

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

Deno.test("a connection over the limit hears 503 where all are at work; else the longest idle one gives way", async () => {
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  await using service = await testService({
    embedders: { test: fakeModel(8, () => open) },
    limits: { connections: 3 },
  });
  const { connections, turnstile } = service.server;
  const ended: number[] = [];
  const heard = [0, 1, 2].map((n) =>
    hear(service.socket, rawRequest(`text ${n}`)).then((text) => {
      ended.push(n);
      return text;
    })
  );
  while (turnstile.inside < 3) await turn();
  const refused = await hear(service.socket, rawRequest("refused"));
  assertIncludes(refused, "HTTP/1.1 503");
  assertIncludes(refused, /retry-after: 1/i);
  assertEquals([ended, connections.gaveWay], [[], 0]);
  release();
  while (turnstile.inside > 0) await turn();
  // Three that are idle now, then one that never ends its headers, then five more.
  const socket = net.connect(service.socket, () => socket.write("POST /v1/embed"));
  socket.on("error", () => {}); // cut off is what is expected
  const cut = new Promise((resolve) => socket.once("close", resolve));
  while (connections.gaveWay < 1) await turn();
  const later: net.Socket[] = [];
  for (let n = 0; n < 5; n++) {
    const { promise: answered, resolve } = Promise.withResolvers<string>();
    const one = net.connect(service.socket, () => one.write(rawRequest(`later ${n}`)));
    one.on("error", () => {}); // destroyed below
    one.once("data", (piece) => resolve(piece.toString()));
    later.push(one);
    assertIncludes(await answered, "HTTP/1.1 200");
  }
  socket.resume();
  await cut;
  later.forEach((one) => one.destroy());
  while (ended.length < 3) await turn();
  assertEquals(connections.gaveWay, 6);
  for (const text of await Promise.all(heard)) assertIncludes(text, "HTTP/1.1 200");
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

Deno.test("clients that ask and do not read hold a bounded memory and are cut off", async () => {
  await using service = await testService({
    embedders: { test: fakeModel(1024) },
    limits: { heldBytes: 8_000_000, bodyTimeoutMs: 1000 },
  });
  const input = Array.from({ length: 200 }, (_, n) => `t ${n}`);
  const sockets = Array.from({ length: 10 }, () => net.connect(service.socket));
  for (const socket of sockets) {
    socket.on("error", () => {}); // cut off is what is expected
    socket.pause();
    socket.write(rawRequest(input));
  }
  const { unsent } = service.server;
  const small = async () => {
    const answer = await overSocket(service.socket, "/v1/embeddings", '{"input":"t 1"}');
    assertEquals(answer.status, 200);
  };
  while (unsent.cut < 3) {
    assertTrue(unsent.heldBytes <= 8_000_000, `${unsent.heldBytes}`);
    await small(); // has its place whoever holds the rest
    await turn();
  }
  const body = JSON.stringify({ input });
  const { status, text } = await overSocket(service.socket, "/v1/embeddings", body);
  assertEquals([status, JSON.parse(text).data.length], [200, 200]);
  sockets.forEach((socket) => socket.destroy());
  while (unsent.heldBytes > 0) await turn();
  const large = JSON.stringify({ input: Array(10).fill(input).flat() });
  assertEquals((await overSocket(service.socket, "/v1/embeddings", large)).status, 413);
});

Deno.test("memory for answers is handed on in order, and nothing of it is lost", async () => {
  const unsent = new UnsentAnswers(1_000_000);
  const never = new AbortController().signal, stop = new AbortController();
  const order: string[] = [];
  const take = async (name: string, sizeBytes: number, signal = never) => {
    const give = await unsent.take(sizeBytes, signal);
    order.push(name);
    return give;
  };
  const first = await take("first", 700_000);
  const asked = [take("large", 900_000, stop.signal), take("second", 400_000)];
  const third = take("third", 600_000);
  await turn();
  assertEquals([order, unsent.heldBytes], [["first"], 700_000]);
  stop.abort(new Error("gave up")); // who waited behind it does so no longer
  await assertRejects(() => asked[0]!, Error, /gave up/);
  assertEquals(order, ["first"]);
  first();
  (await asked[1]!)();
  (await third)();
  (await take("small", 1000))(); // not counted
  assertEquals([order, unsent.heldBytes], [["first", "second", "third", "small"], 0]);
  await assertRejects(() => unsent.take(1_000_001, never), Error, /more memory/);
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
