import net from "node:net";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { fakeModel, hear, overSocket, rawRequest, testService, turn } from "./support.ts";

const HEAD = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n";
/** Ends the connection. */
const LAST = "GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const SMUGGLED = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

Deno.test("a request within a request is never answered", async () => {
  await using service = await testService();
  const hidden = `0\r\n\r\n${SMUGGLED}`;
  const cases = [
    // Two lengths, or a length and chunks: what comes after has two readings.
    `${HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n${hidden}`,
    `${HEAD}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n${hidden}`,
    `${HEAD}content-length: 0\r\ncontent-length: 60\r\n\r\n${SMUGGLED}`,
    `${HEAD}content-length: 0, 60\r\n\r\n${SMUGGLED}`,
    `${HEAD}content-length: +0\r\n\r\n${SMUGGLED}`,
    `${HEAD}content-length: 0x0\r\n\r\n${SMUGGLED}`,
    `${HEAD}content-length : 0\r\n\r\n${SMUGGLED}`,
    `${HEAD}transfer-encoding: xchunked\r\n\r\n${hidden}`,
    `${HEAD}transfer-encoding: chunked, identity\r\n\r\n${hidden}`,
    `${HEAD}transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n\r\n${hidden}`,
    `${HEAD}transfer-encoding: chunked\r\n\r\n-1\r\n\r\n${SMUGGLED}`,
    `${HEAD}transfer-encoding: chunked\r\n\r\n10000000000000000\r\n\r\n${SMUGGLED}`,
    `${HEAD}transfer-encoding: chunked\r\n\r\n2\r\n{}X\r\n0\r\n\r\n${SMUGGLED}`,
    `POST /v1/embeddings HTTP/1.1\nhost: x\ncontent-length: 0\n\n${SMUGGLED}`,
    `POST /v1/embeddings\tHTTP/1.1\r\nhost: x\r\n\r\n${SMUGGLED}`,
    `${HEAD}na\0me: x\r\n\r\n${SMUGGLED}`,
  ];
  for (const text of cases) {
    const heard = await hear(service.socket, text);
    assertEquals(heard.slice(0, 12), "HTTP/1.1 400", JSON.stringify(text));
    assertEquals(heard.split("HTTP/1.1 ").length, 2, JSON.stringify(text));
  }
});

Deno.test("bodies that are no request are refused, and the next one is answered", async () => {
  await using service = await testService();
  const bytes = (...parts: (string | number)[]) =>
    new Uint8Array(
      parts.flatMap((part) =>
        typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]
      ),
    );
  const deep = (open: string, close: string, count: number) =>
    `{"input":${open.repeat(count)}1${close.repeat(count)}}`;
  const cases: [string | Uint8Array, string][] = [
    [deep("[", "]", 1_000_000), "token_input"],
    [deep('{"a":', "}", 500_000), "bad_input"],
    [`{"input":${"[".repeat(3_000_000)}`, "bad_json"],
    ['{"input":"a","dimensions":NaN}', "bad_json"],
    ['{"input":"a","dimensions":1e999}', "bad_parameter"],
    ['{"input":"a","dimensions":-1}', "bad_parameter"],
    ['{"input":"a","dimensions":1.5}', "bad_parameter"],
    ['{"input":"a","dimensions":"64"}', "bad_parameter"],
    ['{"input":"a","dimensions":[64]}', "bad_parameter"],
    ['{"input":"a","dimensions":9007199254740993}', "bad_parameter"],
    ['{"input":"a","encoding_format":["float"]}', "bad_parameter"],
    ['{"input":{"0":"a","length":1}}', "bad_input"],
    ['{"input":[null]}', "bad_input"],
    ['{"input":["a",["b"]]}', "token_input"],
    ['{"input":"a","__proto__":{"x":1}}', "unknown_parameter"],
    ['{"input":"a","model":{"toString":1}}', "bad_parameter"],
    ['{"input":"a","model":"../../etc/passwd"}', "model_not_found"],
    [bytes('{"input":"', 0xff, '"}'), "bad_json"],
    [bytes('{"input":"', 0xc0, 0x80, '"}'), "bad_json"], // overlong NUL
    [bytes('{"input":"', 0xed, 0xa0, 0x80, '"}'), "bad_json"], // a surrogate
    [bytes(0xff, 0xfe, 0x7b, 0, 0x7d, 0), "bad_json"], // UTF-16
    ["", "bad_json"],
    ["\0", "bad_json"],
  ];
  for (const [body, code] of cases) {
    const head = `${HEAD}connection: close\r\ncontent-length: ${
      new Blob([body as BlobPart]).size
    }\r\n\r\n`;
    const heard = await hear(service.socket, head, body);
    const { error } = JSON.parse(heard.slice(heard.indexOf("{")));
    assertEquals(error.code, code, String(body).slice(0, 60));
    assertTrue(/^HTTP\/1\.1 40[04] /.test(heard), heard.slice(0, 20));
  }
  const odd = ["\ud800", "\0", "\u202e", "a".repeat(1_000_000)];
  const body = JSON.stringify({ input: odd });
  const answer = await overSocket(service.socket, "/v1/embeddings", body);
  assertEquals(answer.status, 200);
  assertEquals(JSON.parse(answer.text).data.length, odd.length);
});

Deno.test("a body that comes in chunks is bounded as any other", async () => {
  await using service = await testService({ limits: { bodyBytes: 10_000 } });
  const head = `${HEAD}transfer-encoding: chunked\r\n\r\n`;
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const body = JSON.stringify({ input: "chunked" });
  const single = [...body].map(chunk).join("") + "0\r\n\r\n";
  const heard = await hear(service.socket, head + single + LAST);
  assertEquals(heard.split("HTTP/1.1 200 OK").length, 3);
  const endless = await hear(
    service.socket,
    head,
    ...Array(20).fill(chunk("x".repeat(1000))),
  );
  assertEquals(endless.slice(0, 12), "HTTP/1.1 413");
  assertEquals(service.server.bodyBytes, 0);
});

Deno.test("requests in a row on one connection are answered in order, and not ahead of their reader", async () => {
  await using service = await testService({ embedders: { test: fakeModel(512) } });
  const few = await hear(
    service.socket,
    rawRequest("a") + SMUGGLED + rawRequest(["a", "b"]) + LAST,
  );
  const answers = few.split("HTTP/1.1 200 OK").slice(1);
  assertEquals(answers.map((text) => /"object":"(?:list|model)|ok\n/.test(text)), [
    ...Array(4).fill(true),
  ]);
  assertIncludes(answers[1]!, "ok\n");
  assertIncludes(answers[2]!, '"index":1');
  assertIncludes(answers[3]!, '"owned_by"');

  const many = 20_000;
  const socket = net.connect(service.socket);
  socket.on("error", () => {}); // cut off below
  socket.pause();
  socket.write(rawRequest("a").repeat(many));
  const { requests } = service.service.metrics;
  const count = () => requests.get({ route: "/v1/embeddings", status: "200" });
  let before = -1;
  while (count() < 10 || count() !== before) {
    before = count();
    for (let i = 0; i < 50; i++) await turn();
  }
  assertTrue(count() < many / 4, `${count()} answers that nobody reads`);
  socket.destroy();
});

Deno.test("over TCP without a token only the host itself is asked, by no other name", async () => {
  await using service = await testService();
  const { port } = new URL(service.url);
  const status = (host: string) =>
    new Promise<string>((resolve) => {
      let text = "";
      const socket = net.connect(Number(port), "127.0.0.1", () =>
        socket.write(
          `GET /v1/models HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`,
        ));
      socket.on("data", (piece) => text += piece.toString());
      socket.on("close", () => resolve(text.slice(9, 12)));
    });
  // A page of evil.example whose name leads here by now (DNS rebinding).
  for (
    const host of [
      "evil.example",
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
    ]
  ) {
    assertEquals(await status(host), "421", host);
  }
  const own = [
    "127.0.0.1",
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `[::1]:${port}`,
    "LOCALHOST",
    "op.localhost:1",
  ];
  for (const host of own) assertEquals(await status(host), "200", host);
  const named = await hear(
    service.socket,
    "GET /v1/models HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n",
  );
  assertIncludes(named, "HTTP/1.1 200");
});
