import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import { retryAfterMs } from "../../lib/embed/model/hub.ts";
import { pullModel } from "../../lib/embed/model/pull.ts";
import { listModels, readModel } from "../../lib/embed/model/store.ts";
import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { type HubReply, type HubRequest, ranged, startHub } from "./fake_hub.ts";
import {
  assertNothingKept,
  filesOf,
  hubOf,
  MB,
  options,
  REPOSITORY,
  setUp,
} from "./pulling.ts";
import { modelScratch } from "./support.ts";

Deno.test("a model is pulled, with progress, and nothing of the pull stays", async () => {
  await using place = await setUp();
  const { layout } = place.scratch;
  await using hub = hubOf(place.files);
  const seen = new Map<string, number>();
  const record = await pullModel(
    layout,
    REPOSITORY,
    options(hub, { progress: (file, done) => void seen.set(file, done) }),
  );
  assertEquals(record.name, "tiny-model");
  assertEquals(record.source, `${hub.url}/${REPOSITORY}@main`);
  assertEquals(seen.get("onnx/model.onnx"), place.files.get("onnx/model.onnx")!.length);
  assertEquals([...Deno.readDirSync(layout.models)].map((e) => e.name), ["tiny-model"]);
  const agents = hub.requests.map(({ headers }) => headers.get("accept-encoding"));
  assertTrue(agents.every((encoding) => encoding === "identity"));
});

Deno.test("weights in files of their own are pulled too", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write({ externalFile: "model.onnx_data" });
  await using hub = hubOf(await filesOf(path));
  const record = await pullModel(scratch.layout, REPOSITORY, options(hub));
  assertEquals(record.external_files, ["model.onnx_data"]);
});

Deno.test("weights in files of their own must be the same when pulled again", async () => {
  await using scratch = await modelScratch();
  const served = await filesOf(await scratch.write({ externalFile: "model.onnx_data" }));
  await using hub = startHub((request) => {
    const body = served.get(request.path.split("/resolve/main/")[1]!);
    return body ? { body } : null;
  });
  const pull = () => pullModel(scratch.layout, REPOSITORY, options(hub));
  await pull();
  const changed = served.get("onnx/model.onnx_data")!.slice();
  changed[changed.length >> 1]! ^= 1;
  served.set("onnx/model.onnx_data", changed);
  await assertRejects(pull, DifferenceError, /model\.onnx_data.*pinned/);
});

Deno.test("a model in the repository's own folder is pulled again as well", async () => {
  await using scratch = await modelScratch();
  const files = await filesOf(await scratch.write({ flat: true }));
  await using hub = hubOf(files);
  const pull = (more = {}) => pullModel(scratch.layout, REPOSITORY, options(hub, more));
  const { digest } = await pull();
  assertEquals((await pull()).digest, digest);
  // A pin that the user gives is for that file: none is taken in its place.
  const pins = { "onnx/model.onnx": "0".repeat(64) };
  await assertRejects(() => pull({ pins }), OpError, /pinned, but gone/);
});

Deno.test("a connection that is cut again and again is resumed, not restarted", async () => {
  await using place = await setUp();
  let sent = 0;
  await using hub = hubOf(place.files, (file, _request, honest) => {
    if (file !== "onnx/model.onnx" || !honest.body) return undefined;
    const cutAt = Math.min(60_000, honest.body.length);
    sent += cutAt;
    return { ...honest, cutAt };
  });
  await pullModel(place.scratch.layout, REPOSITORY, options(hub));
  const whole = place.files.get("onnx/model.onnx")!.length;
  assertTrue(sent < whole * 1.5, `${sent} bytes sent for ${whole}`);
  const ranges = hub.requests.filter(({ headers }) => headers.has("range"));
  assertTrue(ranges.length >= 5, `${ranges.length} resumed`);
});

Deno.test("a pull that was stopped goes on where it stopped, in another call", async () => {
  await using place = await setUp();
  const { layout } = place.scratch;
  const stop = new AbortController();
  {
    await using hub = hubOf(place.files, (file, _request, honest) => {
      if (file !== "onnx/model.onnx") return undefined;
      return { ...honest, cutAt: 200_000 };
    });
    const pull = pullModel(
      layout,
      REPOSITORY,
      options(hub, {
        signal: stop.signal,
        sleep: () => {
          stop.abort(new Error("stopped"));
          return Promise.reject(stop.signal.reason);
        },
      }),
    );
    await assertRejects(() => pull, Error, /stopped/);
  }
  assertNothingKept(place.scratch);
  await using hub = hubOf(place.files);
  // Another port is another address, but the same file by its tag.
  await pullModel(layout, REPOSITORY, options(hub));
  const asked = hub.requests.find(({ path }) => path.endsWith("/onnx/model.onnx"))!;
  assertTrue(asked.headers.has("range"), "it started over");
  const first = hub.requests.find(({ path }) => path.endsWith("/tokenizer.json"))!;
  assertTrue(first.headers.has("if-none-match"), "a finished file was fetched again");
});

Deno.test("a file that changed on the server meanwhile is fetched anew", async () => {
  await using place = await setUp();
  const whole = place.files.get("onnx/model.onnx")!;
  await using hub = startHub((request) => {
    const file = request.path.split("/resolve/main/")[1]!;
    const body = place.files.get(file);
    if (!body) return null;
    const version = request.count === 0 ? "old" : "new";
    const reply = ranged(request, body, `"${version}"`);
    const first = file === "onnx/model.onnx" && request.count === 0;
    return first
      ? { ...reply, body: whole.map((byte) => byte ^ 255), cutAt: 90_000 }
      : reply;
  });
  await pullModel(place.scratch.layout, REPOSITORY, options(hub));
  assertEquals(listModels(place.scratch.layout).length, 1);
});

Deno.test("a server that says too little, too much or nothing of the size", async () => {
  for (const claim of [10_000_000, 1000, null]) {
    await using place = await setUp();
    await using hub = hubOf(place.files, (file, { count }, honest) => {
      if (file !== "onnx/model.onnx" || !honest.body) return undefined;
      // It lies at first; afterwards it is honest, for the retry to succeed.
      return count === 0 ? { ...honest, claim } : undefined;
    });
    const pull = () => pullModel(place.scratch.layout, REPOSITORY, options(hub));
    if (claim === 10_000_000) await assertRejects(pull, OpError, /over/);
    // The first 1000 bytes are a sound answer of HTTP, but no model.
    else if (claim === 1000) await assertRejects(pull, InputError, /model\.onnx/);
    else await pull();
  }
});

Deno.test("an endless answer is stopped at the cap", async () => {
  await using place = await setUp();
  await using hub = hubOf(
    place.files,
    (file) =>
      file === "onnx/model.onnx"
        ? { body: new Uint8Array(3 * MB), claim: null }
        : undefined,
  );
  const pull = () =>
    pullModel(place.scratch.layout, REPOSITORY, options(hub, { maxBytes: MB }));
  const error = await assertRejects(pull, OpError, /over/);
  assertEquals(error.code, "too_large");
  assertNothingKept(place.scratch);
});

Deno.test("wrong bytes are refused: against a pin, and against the hub's own word", async () => {
  await using place = await setUp();
  const wrong = (file: string, _request: HubRequest, honest: HubReply) =>
    file === "onnx/model.onnx" && honest.body
      ? { ...honest, body: honest.body.map((byte, i) => i === 99_999 ? byte ^ 1 : byte) }
      : undefined;
  const body = place.files.get("onnx/model.onnx")!;
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", body as BufferSource),
  ).toHex();
  {
    await using hub = hubOf(place.files, wrong);
    const pins = { "onnx/model.onnx": digest };
    const pull = () =>
      pullModel(place.scratch.layout, REPOSITORY, options(hub, { pins }));
    await assertRejects(pull, DifferenceError, /is not the pinned one/);
    assertNothingKept(place.scratch);
  }
  for (const header of ["x-linked-etag", "etag"]) {
    await using hub = hubOf(place.files, (file, request, honest) => {
      const reply = wrong(file, request, honest);
      return reply && { ...reply, headers: { [header]: `"${digest}"` } };
    });
    const pull = () => pullModel(place.scratch.layout, REPOSITORY, options(hub));
    await assertRejects(pull, DifferenceError, /the hub states/);
    assertNothingKept(place.scratch);
  }
});

Deno.test("a model pulled again must be the same, unless it may be replaced", async () => {
  await using place = await setUp();
  const { layout } = place.scratch;
  const other = await filesOf(await place.scratch.write({ seed: 5 }));
  const served = { files: place.files };
  await using hub = startHub((request) => {
    const body = served.files.get(request.path.split("/resolve/main/")[1]!);
    return body ? { body } : null;
  });
  const first = await pullModel(layout, REPOSITORY, options(hub));
  assertEquals((await pullModel(layout, REPOSITORY, options(hub))).digest, first.digest);
  served.files = other;
  const again = () => pullModel(layout, REPOSITORY, options(hub));
  await assertRejects(again, DifferenceError, /pinned/);
  assertEquals(readModel(layout, "tiny-model")!.digest, first.digest);
  const second = await pullModel(layout, REPOSITORY, options(hub, { replace: true }));
  assertTrue(second.digest !== first.digest);
});

const REFUSED: readonly (readonly [string, HubReply | null, RegExp])[] = [
  ["404", null, /has no tokenizer\.json/],
  ["401", { status: 401 }, /the server answered 401/],
  ["403", { status: 403 }, /the server answered 403/],
  ["a web page", {
    headers: { "content-type": "text/html; charset=utf-8" },
    body: new TextEncoder().encode("<html>"),
  }, /web page/],
  [
    "a redirect to another host",
    { status: 302, headers: { location: "https://elsewhere.invalid/x" } },
    /another host \(https:\/\/elsewhere\.invalid\)/,
  ],
  [
    "a redirect to a file",
    { status: 302, headers: { location: "file:///etc/passwd" } },
    /redirects/,
  ],
  [
    "a redirect to nowhere",
    { status: 302, headers: { location: "http://[" } },
    /to "http/,
  ],
  ["a redirect to itself", { status: 302, headers: { location: "" } }, /too many/],
  ["418", { status: 418 }, /answered 418/],
];
for (const [name, reply, pattern] of REFUSED) {
  Deno.test(`a hub that answers ${name} is reported in one line`, async () => {
    await using place = await setUp();
    await using hub = hubOf(place.files, () => reply);
    const pull = () => pullModel(place.scratch.layout, REPOSITORY, options(hub));
    const error = await assertRejects(pull, OpError, pattern);
    assertTrue(!error.message.includes("\n"), error.message);
    assertNothingKept(place.scratch);
  });
}

Deno.test("429 is waited out as Retry-After says; a hub that stays busy is given up", async () => {
  await using place = await setUp();
  const pauses: number[] = [], told: string[] = [];
  const sleep = (ms: number) => {
    pauses.push(ms);
    return Promise.resolve();
  };
  const waiting = (ms: number, why: string) => void told.push(`${ms} ${why}`);
  {
    await using hub = hubOf(
      place.files,
      (file, { count }) =>
        file === "tokenizer.json" && count < 2
          ? { status: 429, headers: { "retry-after": "7" } }
          : undefined,
    );
    await pullModel(
      place.scratch.layout,
      REPOSITORY,
      options(hub, { sleep, waiting }),
    );
    assertEquals(pauses, [7000, 7000]);
    assertEquals(told.length, 2);
    assertIncludes(
      told[0]!,
      /^7000 Cannot fetch .*tokenizer\.json: the server answered 429$/,
    );
  }
  await using busy = hubOf(place.files, () => ({ status: 503 }));
  const pull = () =>
    pullModel(
      place.scratch.layout,
      REPOSITORY,
      options(busy, { sleep, name: "another" }),
    );
  const error = await assertRejects(pull, OpError, /503/);
  assertEquals(error.code, "download_failed");
  assertEquals(busy.requests.length, 5);
});

Deno.test("Retry-After is seconds or a date", () => {
  const of = (value: string) =>
    retryAfterMs(new Response(null, { headers: { "retry-after": value } }), 1000);
  assertEquals(of("120"), 120_000);
  assertEquals(of(new Date(61_000).toUTCString()), 60_000);
  assertEquals(of(new Date(0).toUTCString()), 0);
  assertEquals([of("soon"), of("-1")], [null, of("-1")]);
  assertEquals(retryAfterMs(new Response(null), 0), null);
});

Deno.test("the token goes to the hub, and to no host it redirects to", async () => {
  await using place = await setUp();
  await using store = startHub((request) => {
    const body = place.files.get(request.path.slice(1));
    return body ? { body } : null;
  });
  await using hub = hubOf(
    place.files,
    (file) =>
      file === "onnx/model.onnx"
        ? { status: 302, headers: { location: `${store.url}/onnx/model.onnx` } }
        : undefined,
  );
  const pull = (hosts: string[]) =>
    pullModel(
      place.scratch.layout,
      REPOSITORY,
      options(hub, { hub: { url: hub.url, hosts, token: "secret" } }),
    );
  await assertRejects(() => pull([]), OpError, /another host/);
  assertEquals(store.requests, []);
  await pull([store.host]);
  const sent = (requests: readonly HubRequest[]) =>
    new Set(requests.map(({ headers }) => headers.get("authorization")));
  assertEquals([...sent(hub.requests)], ["Bearer secret"]);
  assertEquals([...sent(store.requests)], [undefined]);
});

Deno.test("names that are no repository's are refused before anything is asked", async () => {
  await using place = await setUp();
  await using hub = hubOf(place.files);
  for (const name of ["", "a/b/c", "../x", "a/..", "a b/c", "/x", "x/", "a/b?c"]) {
    const pull = () => pullModel(place.scratch.layout, name, options(hub));
    await assertRejects(pull, InputError, /names no model|as a name/);
  }
  const revision = () =>
    pullModel(place.scratch.layout, REPOSITORY, options(hub, { revision: "../x" }));
  await assertRejects(revision, InputError);
  assertEquals(hub.requests, []);
});
