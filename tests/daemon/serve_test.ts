import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { btrfsRoot, plainRoot } from "../support/cli_root.ts";
import { OpError } from "../../lib/base/errors.ts";
import { Listeners } from "../../lib/daemon/listeners.ts";
import { platformTest, sh, tempFolder } from "../support/scratch.ts";
import { configured, startServe } from "./serve_process.ts";
import { overSocket } from "./support.ts";

const embed = (socket: string, input: unknown) =>
  overSocket(socket, "/v1/embeddings", JSON.stringify({ input }));

Deno.test("serve answers, reloads on SIGHUP, drains on SIGTERM, and keeps what it computed", async () => {
  await using root = await plainRoot();
  const first = await startServe(root);
  const { text } = await embed(first.socket, ["open port 80", "disk full"]);
  first.child.kill("SIGHUP");
  await first.logged("reloaded");
  const { status } = await overSocket(first.socket, "/readyz");
  assertEquals(status, 200);
  const seen = await root.json("status", "--socket", first.socket);
  assertEquals([seen.root, seen.cache.entries, seen.cache.counts.model], [
    root.path,
    2,
    2,
  ]);
  assertEquals(await first.stop(), 0);
  assertIncludes(first.log(), "stopped");
  const second = await startServe(root, ["-v"]);
  await second.logged("warmed up vectors=2");
  const again = JSON.parse(
    (await embed(second.socket, ["open port 80", "disk full"])).text,
  );
  assertEquals(again.data, JSON.parse(text).data);
  assertEquals(again.usage.prompt_tokens, 0);
  const { cache } = await root.json("status", "--socket", second.socket);
  assertEquals(cache.counts, { memory: 2, disk: 0, shared: 0, model: 0 });
  assertEquals(await second.stop(), 0);
});

Deno.test("a socket of a killed service is taken over, one in use is not", async () => {
  await using root = await plainRoot();
  const first = await startServe(root);
  const taken = await root.run(["serve", "--socket", first.socket]);
  assertEquals(taken.code, 1);
  assertIncludes(taken.stderr, "another service does");
  first.child.kill("SIGKILL");
  await first.stop();
  const second = await startServe(root);
  assertEquals((await embed(second.socket, "a")).status, 200);
  assertEquals(await second.stop(), 0);
});

Deno.test("a socket whose queue is full is in use: it is not taken over", async () => {
  await using folder = await tempFolder();
  const at = { transport: "unix", path: `${folder.path}/full` } as const;
  using service = Deno.listen(at); // it never accepts
  const waiting: Deno.Conn[] = [];
  try {
    // Until the kernel says EAGAIN; net.core.somaxconn is 4096 by default.
    await assertRejects(async () => {
      while (waiting.length < 10_000) waiting.push(await Deno.connect(at));
    }, Deno.errors.WouldBlock);
    const listen = () => Promise.resolve({ port: null, close() {} });
    using listeners = new Listeners({ listen }, () => {});
    await assertRejects(() => listeners.onPath(at.path), OpError, /another service does/);
    assertTrue((await Deno.stat(service.addr.path)).isSocket!);
  } finally {
    waiting.forEach((connection) => connection.close());
  }
});

Deno.test("serve refuses to be open to all, and settings that cannot be", async () => {
  await using root = await plainRoot();
  const refused = async (...args: string[]) => {
    const run = await root.run(["serve", "--socket", `${root.scratch.path}/x`, ...args]);
    assertEquals(run.stdout, "");
    return [run.code, run.stderr] as const;
  };
  const [code, text] = await refused("--listen", "0.0.0.0:1");
  assertEquals(code, 2);
  assertIncludes(text, "anybody could use it");
  assertEquals((await refused("--listen", "nonsense"))[0], 2);
  await Deno.writeTextFile(`${root.scratch.path}/token`, "short\n");
  assertEquals((await refused("--token", `${root.scratch.path}/token`))[0], 2);
  assertEquals((await refused("--set", "serve.upstream.url=http://x/v1"))[0], 2);
  await Deno.writeTextFile(`${root.scratch.path}/x`, "a file");
  assertIncludes((await refused())[1], "it is no socket");
  const nothing = await root.run(["status", "--socket", `${root.scratch.path}/none`]);
  assertEquals(nothing.code, 1);
  assertIncludes(nothing.stderr, "Nothing serves on");
});

Deno.test("status of a socket where something else answers: one line, exit 1", async () => {
  await using root = await plainRoot();
  const path = `${root.scratch.path}/other`;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(1024 * 1024)),
    });
  const cases: [() => Response, string][] = [
    [() => new Response("hello"), "is no op-dbus"],
    [() => new Response("null"), "is no op-dbus"],
    [() => new Response('{"version":"1","cache":{}}'), "is no op-dbus"],
    [() => new Response("no", { status: 404 }), "status 404"],
    [() => new Response(endless()), "does not end"],
  ];
  for (const [answer, why] of cases) {
    await using _other = Deno.serve({ path, onListen() {} }, answer);
    const { code, stdout, stderr } = await root.run(["status", "--socket", path]);
    assertEquals([code, stdout], [1, ""], why);
    assertIncludes(stderr, why);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
    await Deno.remove(path).catch(() => {/* Deno removes it where it can */});
  }
});

Deno.test("plugins appear and disappear without a restart", async () => {
  await using root = await plainRoot();
  const serve = await startServe(root);
  const folder = `${root.path}/@plugin-demo`;
  await Deno.mkdir(`${folder}.new`);
  const manifest = '[plugin]\nname = "demo"\nversion = "1.0.0"\nauthor = "a"\n' +
    'description = "d"\nlicense = "MIT"\n';
  await Deno.writeTextFile(`${folder}.new/plugin.toml`, manifest);
  await Deno.rename(`${folder}.new`, folder);
  await serve.logged('"name\\":\\"demo');
  const { plugins } = JSON.parse((await overSocket(serve.socket, "/overview.json")).text);
  assertEquals(plugins.map((one: { name: string }) => one.name), ["demo"]);
  // A plugin changed where it is: its version too is seen.
  await Deno.writeTextFile(`${folder}/plugin.toml`, manifest.replace("1.0.0", "1.1.0"));
  await serve.logged('\\"version\\":\\"1.1.0');
  await Deno.remove(folder, { recursive: true });
  await serve.logged("plugins=[]");
  assertEquals(await serve.stop(), 0);
});

Deno.test("systemd hears READY, WATCHDOG, RELOADING and STOPPING; its socket is taken", async () => {
  await using root = await plainRoot();
  const script = new URL("./fake_systemd.py", import.meta.url).pathname;
  const [program, ...args] = (await import("../support/cli.ts")).cliCommand();
  const out = await new Deno.Command("/usr/bin/python3", {
    args: [script, root.scratch.path, program!, ...args, "--root", root.path, "serve"],
    env: { OPDBUS_CONFIG: "/dev/null" },
  }).output();
  const text = new TextDecoder();
  assertTrue(out.success, text.decode(out.stderr));
  const heard = text.decode(out.stdout).trim().split("\n");
  assertEquals(heard[0], "READY=1");
  assertEquals(heard[1], '{"object":"list"');
  for (
    const word of [
      "WATCHDOG=1",
      "RELOADING=1",
      "MONOTONIC is right",
      "STOPPING=1",
      "exit 0",
    ]
  ) {
    assertTrue(heard.includes(word), `${word} in ${heard.join(" ")}`);
  }
});

Deno.test("a reload applies limits, token, address and models, and names what needs a restart", async () => {
  await using root = await plainRoot();
  const { serve, reload } = await configured(root, "[serve]\nmax_batch = 1\n");
  await using _stop = serve;
  const status = async (input: unknown) => (await embed(serve.socket, input)).status;
  assertEquals([await status("a"), await status(["a", "b"])], [200, 400]);
  await reload("[serve]\nmax_batch = 2\n", "reloaded");
  assertEquals(await status(["a", "b"]), 200);

  const said = await reload('[serve]\nlisten = "127.0.0.1:0"\n', "listening");
  const url = `http://127.0.0.1:${/port=(\d+)/.exec(said)![1]}/v1/models`;
  assertTrue((await (await fetch(url)).text()).includes('"builtin"'));
  const token = `${root.scratch.path}/token`;
  await Deno.writeTextFile(token, "a-token-of-the-test\n");
  await reload(`[serve]\ntoken_file = "${token}"\n`, "reloaded");
  assertEquals(await status("a"), 401);
  assertTrue(
    await fetch(url).then(() => false, () => true),
    "it listens there no longer",
  );

  const upstream = `[serve.upstream]\nurl = "http://127.0.0.1:9/v1"\nmodel = "there"\n`;
  await reload(upstream, "Cannot reload");
  assertEquals(await status("a"), 401, "a mistake changes nothing");
  await reload(`${upstream}dimensions = 4\n`, "reloaded");
  const models = (await overSocket(serve.socket, "/v1/models")).text;
  assertEquals(JSON.parse(models).data.map(({ id }: { id: string }) => id), ["there"]);
  await reload("", "reloaded");
  assertEquals(await status("a"), 200);

  const late = '[cache]\ncodec = "f32"\n[serve]\nsocket = "/other"\nrate = 5\n';
  const names = await reload(late, "these settings need a restart");
  assertIncludes(names, "keys=cache.codec");
  assertTrue(!names.includes("serve.rate"), names);
  await reload('[serve]\nlisten = "0.0.0.0:1"\n', "anybody could use it");
  assertEquals(await serve.stop(), 0);
});

Deno.test("serve --model picks the model of requests that name none, and refuses one that is not there", async () => {
  await using root = await plainRoot();
  await using serve = await startServe(root, ["--model", "builtin"]);
  assertEquals(JSON.parse((await embed(serve.socket, "a")).text).model, "builtin");
  assertEquals(await serve.stop(), 0);
  const refused = await root.run(["serve", "--socket", serve.socket, "--model", "no"]);
  assertEquals(refused.code, 2);
  assertIncludes(refused.stderr, "The model no does not exist (there are: builtin)");
});

/** Every metric, and the type that Prometheus reads it as. */
const METRICS: Readonly<Record<string, string>> = {
  opdbus_requests: "counter",
  opdbus_texts: "counter",
  opdbus_single_flight: "counter",
  opdbus_compute_seconds: "counter",
  opdbus_request_duration_seconds: "histogram",
  opdbus_lookup_duration_seconds: "histogram",
  opdbus_cache_entries: "gauge",
  opdbus_cache_bytes: "gauge",
  opdbus_pack_bytes: "gauge",
  opdbus_pack_resident_bytes: "gauge",
  opdbus_pack_resident_ratio: "gauge",
  opdbus_node_pages: "gauge",
  opdbus_node_vector_bytes: "gauge",
  opdbus_snapshots: "gauge",
  opdbus_plugins: "gauge",
  opdbus_chain_height: "gauge",
  opdbus_leader: "gauge",
  opdbus_job_last_run_timestamp_seconds: "gauge",
  opdbus_second_tier: "counter",
};

platformTest(
  "Prometheus's parser reads every metric, with the values that are there",
  async () => {
    await using root = await btrfsRoot();
    await root.run(["embed", "packed one", "packed two"]);
    await root.run(["cache", "compact"]);
    await Deno.mkdir(`${root.path}/@plugin-demo`);
    const set = [
      "--set",
      "serve.redis.urls=redis://127.0.0.1:9",
      "--set",
      "serve.warm=0",
    ];
    await using serve = await startServe(root, set);
    await embed(serve.socket, ["packed one", "new", "new"]);
    const path = `${root.scratch.path}/metrics`;
    const families = async () => {
      const { text } = await overSocket(serve.socket, "/metrics");
      await Deno.writeTextFile(path, text);
      return JSON.parse(await sh("/usr/bin/python3", "-c", PARSE, path)) as Family[];
    };
    let found = await families();
    const value = (sample: string) =>
      found.flatMap(({ samples }) => samples).find(([name]) => name === sample)?.[1];
    while (!value("opdbus_snapshots{target=cache}")) found = await families();
    const types = new Map(found.map(({ name, type }) => [name, type]));
    for (const [name, type] of Object.entries(METRICS)) {
      assertEquals(types.get(name), type, name);
    }
    assertEquals(value("opdbus_texts_total{layer=disk}"), 1);
    assertEquals(value("opdbus_texts_total{layer=memory}"), 1);
    assertEquals(value("opdbus_texts_total{layer=model}"), 1);
    assertEquals(value("opdbus_cache_entries{}"), 3);
    assertEquals(value("opdbus_plugins{}"), 1);
    const resident = value("opdbus_pack_resident_bytes{}")!;
    assertTrue(resident > 0);
    const share = resident / value("opdbus_pack_bytes{}")!;
    assertEquals(value("opdbus_pack_resident_ratio{}"), share);
    assertTrue(value("opdbus_node_pages{node=0}")! > 1000);
    assertTrue(value("opdbus_node_vector_bytes{node=0}")! > 0);
    assertTrue(value("opdbus_compute_seconds_total{}")! > 0);
    assertEquals(await serve.stop(), 0);
  },
);

interface Family {
  readonly name: string;
  readonly type: string;
  readonly samples: readonly (readonly [string, number])[];
}

const PARSE = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families
def named(s):
    return s.name + "{" + ",".join(k + "=" + v for k, v in sorted(s.labels.items())) + "}"
print(json.dumps([
    {"name": f.name, "type": f.type, "samples": [[named(s), s.value] for s in f.samples]}
    for f in text_string_to_metric_families(open(sys.argv[1]).read())]))`;
