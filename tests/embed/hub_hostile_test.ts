import { InputError, OpError } from "../../lib/base/errors.ts";
import { addModel } from "../../lib/embed/model/add.ts";
import { get } from "../../lib/embed/model/hub.ts";
import { pullModel } from "../../lib/embed/model/pull.ts";
import { listModels } from "../../lib/embed/model/store.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { type HubReply, startHub } from "./fake_hub.ts";
import {
  assertNothingKept,
  filesOf,
  hubOf,
  MB,
  options,
  REPOSITORY,
  setUp,
} from "./pulling.ts";
import { CPU, replaceBytes } from "./support.ts";

const MODEL = "onnx/model.onnx";

/** After a cut, what a server may answer to the question for the rest. */
const RESTS: Readonly<Record<string, (honest: HubReply) => HubReply>> = {
  "another range than was asked for": ({ body = new Uint8Array(), headers }) => ({
    status: 206,
    body,
    headers: { ...headers, "content-range": `bytes 0-${body.length - 1}/${body.length}` },
  }),
  "a range without a place": ({ headers, body = new Uint8Array() }) => ({
    status: 206,
    body,
    headers: { etag: headers!["etag"]! },
  }),
  "that there is no such range": () => ({ status: 416 }),
};
for (const [name, answer] of Object.entries(RESTS)) {
  Deno.test(`a server that sends ${name} is asked for the whole file`, async () => {
    await using place = await setUp();
    await using hub = hubOf(place.files, (file, { count }, honest) => {
      if (file !== MODEL) return undefined;
      return count === 0
        ? { ...honest, cutAt: 90_000 }
        : count === 1
        ? answer(honest)
        : undefined;
    });
    await pullModel(place.scratch.layout, REPOSITORY, options(hub));
    const asked = hub.requests.filter(({ path }) => path.endsWith(MODEL));
    assertEquals(asked.map(({ headers }) => headers.has("range")), [false, true, false]);
  });
}

Deno.test("the rest of a file that may be another one is not asked for", async () => {
  await using place = await setUp();
  await using hub = hubOf(place.files, (file, { count }, honest) => {
    const reply = { ...honest, headers: { etag: 'W/"weak"' } };
    return file === MODEL && count === 0 ? { ...reply, cutAt: 90_000 } : reply;
  });
  await pullModel(place.scratch.layout, REPOSITORY, options(hub));
  assertTrue(!hub.requests.some(({ headers }) => headers.has("range")));
});

Deno.test("a pin that no file was compared with is refused", async () => {
  await using place = await setUp();
  await using hub = hubOf(place.files);
  // The model is in onnx/: who pins another place would believe that it was compared.
  const pins = { "model.onnx": "0".repeat(64) };
  const pull = () => pullModel(place.scratch.layout, REPOSITORY, options(hub, { pins }));
  const error = await assertRejects(
    pull,
    InputError,
    /: model\.onnx is pinned, but no file/,
  );
  assertTrue(error.hint!.includes("onnx/model.onnx"), error.hint!);
  assertNothingKept(place.scratch);
});

Deno.test("what a hub does not have leaves no folder", async () => {
  await using place = await setUp();
  const { layout } = place.scratch;
  place.files.delete(MODEL);
  await using hub = hubOf(place.files);
  const pull = () => pullModel(layout, REPOSITORY, options(hub));
  await assertRejects(pull, InputError, /has no onnx\/model\.onnx or model\.onnx/);
  assertEquals([...Deno.readDirSync(layout.models)], []);
});

Deno.test("the cap is for all files together", async () => {
  await using place = await setUp();
  await using hub = hubOf(place.files);
  const largest = Math.max(...[...place.files.values()].map(({ length }) => length));
  const pull = () =>
    pullModel(place.scratch.layout, REPOSITORY, options(hub, { maxBytes: largest + 1 }));
  const error = await assertRejects(pull, OpError, /it is over/);
  assertEquals(error.code, "too_large");
  assertNothingKept(place.scratch);
});

Deno.test("a hub that says to come back in years is asked after minutes", async () => {
  await using place = await setUp();
  const pauses: number[] = [];
  await using hub = hubOf(
    place.files,
    (_file, { count }) =>
      count === 0
        ? { status: 429, headers: { "retry-after": "999999999" } }
        : { status: 418 },
  );
  const sleep = (ms: number) => {
    pauses.push(ms);
    return Promise.resolve();
  };
  const pull = () => pullModel(place.scratch.layout, REPOSITORY, options(hub, { sleep }));
  await assertRejects(pull, OpError, /418/);
  assertEquals(pauses, [5 * 60 * 1000]);
});

Deno.test("weights outside the model's folder are not asked for", async () => {
  await using place = await setUp();
  const { scratch } = place;
  const external = "../../../../etc/x";
  const path = await scratch.write({ externalFile: "0".repeat(external.length) });
  const files = await filesOf(path);
  replaceBytes(files.get(MODEL)!, "0".repeat(external.length), external);
  await using hub = hubOf(files);
  const pull = () => pullModel(scratch.layout, REPOSITORY, options(hub));
  await assertRejects(pull, InputError, /Cannot pull the file .*etc\/x/);
  assertEquals(hub.requests.at(-1)!.path, `/${REPOSITORY}/resolve/main/${MODEL}`);
});

Deno.test("a pull does not take another model's name, and asks nothing", async () => {
  await using place = await setUp();
  const { layout } = place.scratch;
  await addModel(layout, "mine", await place.scratch.write(), { devices: CPU });
  await using hub = hubOf(place.files);
  const pull = () => pullModel(layout, REPOSITORY, options(hub, { name: "mine" }));
  const error = await assertRejects(pull, InputError, /There is a model mine already/);
  assertEquals(error.code, "model_exists");
  assertEquals(hub.requests, []);
  assertEquals(listModels(layout).length, 1);
});

Deno.test("no redirect leaves encryption, and the token is not sent without it", async () => {
  await using plain = startHub(() => ({
    status: 302,
    headers: { location: "/elsewhere" },
  }));
  // A hub of that host that is asked without encryption, as after a redirect.
  const hub = { url: `https://${plain.host}`, hosts: [], token: "secret" };
  const asked = new URL(`${plain.url}/file`);
  const ask = () => get(hub, asked, {}, new AbortController().signal);
  await assertRejects(ask, OpError, /redirects to an address without encryption/);
  assertEquals(plain.requests.map(({ headers }) => headers.get("authorization")), [
    undefined,
  ]);
});

Deno.test("a pattern of hosts ends at a dot", async () => {
  await using place = await setUp();
  const location = "http://nothub.invalid/file";
  await using hub = hubOf(place.files, () => ({ status: 302, headers: { location } }));
  const { url } = hub;
  const pull = (hosts: string[]) => () =>
    pullModel(
      place.scratch.layout,
      REPOSITORY,
      options(hub, { hub: { url, hosts, token: "" }, maxBytes: MB }),
    );
  for (const pattern of ["*.hub.invalid", "*.nothub.invalid", "hub.invalid"]) {
    await assertRejects(pull([pattern]), OpError, /another host \(http:\/\/nothub/);
  }
});
