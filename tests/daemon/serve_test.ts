import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { startServe } from "./serve_process.ts";
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
  assertEquals(cache.counts, { memory: 2, disk: 0, model: 0 });
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
