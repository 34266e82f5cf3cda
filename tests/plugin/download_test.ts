import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { OpError } from "../../lib/base/errors.ts";
import { download, fetchBytes } from "../../lib/plugin/download.ts";
import { digestBytes } from "../../lib/plugin/minisign/sign.ts";
import { endless, IMPATIENT, serve, serveRaw } from "./kit.ts";

const CONTENT = crypto.getRandomValues(new Uint8Array(50_000));
const SHA256 = digestBytes(CONTENT).sha256;
const options = { allowHttp: true, patience: IMPATIENT };

async function refused(run: () => Promise<unknown>, code: string): Promise<void> {
  const error = await assertRejects(run, OpError);
  assertEquals(error.code, code, error.message);
}

/** The first half of the content, then the connection breaks. */
function cutShort(at: number): Response {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(CONTENT.slice(0, at));
    },
    pull(controller) {
      controller.error(new Error("cut"));
    },
  });
  return new Response(body);
}

Deno.test("a download resumes where the connection was cut, and in a later run", async () => {
  await using folder = await tempFolder();
  await using server = serve(new Map([["f", CONTENT]]));
  const url = new URL("f", server.url);
  const target = { path: `${folder.path}/f`, sizeBytes: CONTENT.length, sha256: SHA256 };
  server.intercept = (request) =>
    request.headers.has("range") ? undefined : cutShort(20_000);
  const progress: number[] = [];
  await download(url, target, { ...options, onProgress: (done) => progress.push(done) });
  assertEquals(await Deno.readFile(target.path), CONTENT);
  assertEquals(server.log[0], "f");
  assertEquals(/^f bytes=\d+-$/.test(server.log[1]!), true);
  assertEquals(progress.at(-1), CONTENT.length);

  await Deno.remove(target.path);
  await Deno.writeFile(`${target.path}.part`, CONTENT.slice(0, 49_000));
  server.log.length = 0;
  await download(url, target, options);
  assertEquals(await Deno.readFile(target.path), CONTENT);
  assertEquals(server.log, ["f bytes=49000-"]);
  assertEquals([...Deno.readDirSync(folder.path)].map((e) => e.name), ["f"]);
});

Deno.test("an old part of other content is thrown away, not delivered", async () => {
  await using folder = await tempFolder();
  await using server = serve(new Map([["f", CONTENT]]));
  const target = { path: `${folder.path}/f`, sizeBytes: CONTENT.length, sha256: SHA256 };
  for (const old of [new Uint8Array(1000), new Uint8Array(CONTENT.length + 5)]) {
    await Deno.writeFile(`${target.path}.part`, old);
    await download(new URL("f", server.url), target, options);
    assertEquals(await Deno.readFile(target.path), CONTENT);
  }
});

Deno.test("a server that ignores ranges, or answers them wrongly, is coped with", async () => {
  await using folder = await tempFolder();
  await using server = serve(new Map([["f", CONTENT]]));
  const target = { path: `${folder.path}/f`, sizeBytes: CONTENT.length, sha256: SHA256 };
  const answers = [
    () => new Response(CONTENT),
    () => new Response(null, { status: 416 }),
    () =>
      new Response(CONTENT.slice(7), {
        status: 206,
        headers: { "content-range": "bytes 7-49999/50000" },
      }),
  ];
  for (const answer of answers) {
    await Deno.writeFile(`${target.path}.part`, CONTENT.slice(0, 1000));
    server.intercept = (request) => request.headers.has("range") ? answer() : undefined;
    await download(new URL("f", server.url), target, options);
    assertEquals(await Deno.readFile(target.path), CONTENT);
    await Deno.remove(target.path);
  }
});

Deno.test("without a digest a part is resumed only for the same ETag", async () => {
  await using folder = await tempFolder();
  const other = CONTENT.map((byte) => byte ^ 1);
  await using server = serve();
  let first = true;
  server.intercept = (request) => {
    if (first) {
      first = false;
      const cut = cutShort(10_000);
      return new Response(cut.body, { headers: { etag: '"one"' } });
    }
    // The file changed meanwhile: If-Range does not match, so the whole is sent.
    assertEquals(request.headers.get("if-range"), '"one"');
    return new Response(other, { headers: { etag: '"two"' } });
  };
  const target = { path: `${folder.path}/f`, sizeBytes: CONTENT.length };
  await download(new URL("f", server.url), target, options);
  assertEquals(await Deno.readFile(target.path), other);
});

Deno.test("more, less or other than announced ends in an error and no file", async () => {
  await using folder = await tempFolder();
  await using server = serve(new Map([["f", CONTENT]]));
  const url = new URL("f", server.url);
  const path = `${folder.path}/f`;
  const exact = { path, sizeBytes: CONTENT.length, sha256: SHA256 };
  await refused(
    () => download(url, { ...exact, sha256: "0".repeat(64) }, options),
    "wrong_digest",
  );
  await refused(
    () => download(url, { ...exact, sizeBytes: 49_999 }, options),
    "too_large",
  );
  await refused(
    () => download(url, { ...exact, sizeBytes: 50_001 }, options),
    "incomplete",
  );
  await Deno.remove(`${path}.part`); // whole by now: it would be taken as it is
  server.intercept = () => new Response(endless(new Uint8Array(65536)));
  await refused(() => download(url, exact, options), "too_large");
  server.intercept = () => new Response(endless(new Uint8Array(1), 5));
  // It is never silent for long: only its speed can end it.
  const patient = { ...options, patience: { ...IMPATIENT, stallMs: 60_000 } };
  await refused(() => download(url, exact, patient), "too_slow");
  await Deno.remove(`${path}.part`);
  server.intercept = () => new Response(null, { status: 503 });
  const told: string[] = [];
  const waiting = (ms: number, why: string) => void told.push(`${ms} ${why}`);
  await refused(() => download(url, exact, { ...options, waiting }), "http_error");
  assertIncludes(told[0]!, /^\d+ .*503/);
  const asked = server.log.length;
  server.intercept = () => new Response(null, { status: 403 });
  await refused(() => download(url, exact, options), "http_error");
  assertEquals(server.log.length, asked + 1, "403 is not tried again");
  assertEquals([...Deno.readDirSync(folder.path)].some((e) => e.name === "f"), false);
});

Deno.test("a lying Content-Length is noticed either way", async () => {
  await using long = serveRaw("HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n{}");
  await refused(() => fetchBytes(new URL(long.url), 1000, options), "too_large");
  await using short = serveRaw("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{}");
  await refused(() => fetchBytes(new URL(short.url), 1000, options), "incomplete");
});

Deno.test("a server that takes the connection and never answers is left", async () => {
  await using folder = await tempFolder();
  await using server = serve();
  const asked: (() => void)[] = [];
  server.intercept = () => {
    const answer = new Promise<Response>((resolve) =>
      asked.push(() => resolve(new Response("late")))
    );
    return answer;
  };
  try {
    const url = new URL("f", server.url);
    const quick = { ...options, patience: { ...IMPATIENT, answerMs: 20 } };
    await refused(() => fetchBytes(url, 1000, quick), "unreachable");
    const target = { path: `${folder.path}/f`, sizeBytes: 9 };
    await refused(() => download(url, target, quick), "unreachable");
  } finally {
    for (const answer of asked) answer();
  }
});

Deno.test("Ctrl-C ends a download at once and keeps the part", async () => {
  await using folder = await tempFolder();
  await using server = serve();
  server.intercept = () => new Response(endless(CONTENT, 1));
  const stop = new AbortController();
  const target = { path: `${folder.path}/f`, sizeBytes: 1e9, sha256: SHA256 };
  const reason = new OpError("interrupted", "Interrupted");
  const run = download(new URL("f", server.url), target, {
    ...options,
    signal: stop.signal,
    onProgress: () => stop.abort(reason),
  });
  const error = await assertRejects(() => run, OpError);
  assertEquals(error, reason);
  assertEquals((await Deno.stat(`${target.path}.part`)).size > 0, true);
});
