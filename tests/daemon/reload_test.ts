import { writeModelFolder } from "../../scripts/models/folder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { tempFolder } from "../support/scratch.ts";
import { privateBus, run } from "./private_bus.ts";
import { cli, freePort, redisServer, until } from "./redis_server.ts";
import { configured } from "./serve_process.ts";
import { overSocket } from "./support.ts";

const ask = async (socket: string, request: object) =>
  JSON.parse((await overSocket(socket, "/v1/embeddings", JSON.stringify(request))).text);

Deno.test("a reload moves the D-Bus service to another bus, and leaves it where that is away", async () => {
  await using scratch = await tempFolder();
  await using root = await plainRoot();
  const folders = ["one", "two"].map((name) => `${scratch.path}/${name}`);
  for (const folder of folders) await Deno.mkdir(folder);
  const one = await privateBus(folders[0]!);
  await using two = await privateBus(folders[1]!);
  const offered = async ({ address }: { address: string }) => {
    const args = ["call", "org.opdbus1", "/org/opdbus1", "org.opdbus1.Manager"];
    const { code } = await run(
      "busctl",
      [`--address=${address}`, ...args, "ListPlugins"],
      {},
    );
    return code === 0;
  };
  const set = (where: string) => `[serve]\ndbus = "${where}"\n`;
  const env = {
    DBUS_SYSTEM_BUS_ADDRESS: one.address,
    DBUS_SESSION_BUS_ADDRESS: two.address,
  };
  const { serve, reload } = await configured(root, "", env);
  await using _stop = serve;
  assertEquals([await offered(one), await offered(two)], [false, false]);
  await reload(set("system"), "offering org.opdbus1");
  assertEquals([await offered(one), await offered(two)], [true, false]);
  await reload(set("session"), "offering org.opdbus1");
  assertEquals([await offered(one), await offered(two)], [false, true]);
  // No bus there, and an address beside it: neither of the two is used.
  await one[Symbol.asyncDispose]();
  const more = 'listen = "127.0.0.1:0"\nmax_batch = 1\n';
  const said = await reload(set("system") + more, "Cannot reload");
  assertTrue(!said.includes("listening"), said);
  assertEquals(await offered(two), true);
  assertEquals((await ask(serve.socket, { input: ["a", "b"] })).data.length, 2);
  await reload(set("session"), "reloaded");
  assertEquals(await offered(two), true);
  await reload("", "reloaded");
  assertEquals(await offered(two), false);
  await reload(set("session"), "offering org.opdbus1");
  assertEquals(await offered(two), true);
  assertEquals(await serve.stop(), 0);
});

Deno.test("a reload takes up, changes and leaves the second tier", async () => {
  await using scratch = await tempFolder();
  await using root = await plainRoot();
  const ports = [freePort(), freePort()];
  await using _one = await redisServer(scratch.path, ports[0]!);
  await using _two = await redisServer(scratch.path, ports[1]!);
  const sizes = async () =>
    await Promise.all(ports.map(async (port) => Number(await cli(port, "dbsize"))));
  const set = (port: number) =>
    `[serve.redis]\nurls = ["redis://127.0.0.1:${port}"]\ntimeout = "2s"\n`;
  const { serve, reload } = await configured(root, "");
  await using _stop = serve;
  const tier = async () =>
    JSON.parse((await overSocket(serve.socket, "/overview.json")).text).second_tier;
  await ask(serve.socket, { input: "alone" });
  assertEquals([await sizes(), await tier()], [[0, 0], null]);
  let texts = 0;
  const fill = async (at: number) => {
    const before = (await sizes())[at]!;
    await until(async () => { // the connection comes in the background
      await ask(serve.socket, { input: `text ${texts++}` });
      return (await sizes())[at]! > before;
    });
  };
  await reload(set(ports[0]!), "reloaded");
  await fill(0);
  assertEquals((await sizes())[1], 0);
  await reload(set(ports[1]!), "reloaded");
  const first = (await sizes())[0];
  await fill(1);
  assertEquals((await sizes())[0], first);
  await reload('[serve.redis]\nurls = ["nonsense://"]\n', "Cannot reload");
  await fill(1);
  await reload("", "reloaded");
  const last = await sizes();
  await ask(serve.socket, { input: "alone again" });
  assertEquals(await sizes(), last);
  assertEquals(await serve.stop(), 0);
});

Deno.test("a reload swaps the model that is open, requests under way included", async () => {
  await using root = await plainRoot();
  for (const [seed, name] of ["tiny", "other"].entries()) {
    const folder = `${root.scratch.path}/${name}`;
    await writeModelFolder(folder, { seed: seed + 1 });
    await root.json("model", "add", name, folder);
  }
  const set = (name: string) => `[embed]\nmodel = "${name}"\ndevice = "cpu"\n`;
  const { serve, reload } = await configured(root, set("tiny"));
  await using _stop = serve;
  const tiny = await ask(serve.socket, { input: "open port 80" });
  assertEquals(tiny.model, "tiny");
  const many = (word: string) => Array.from({ length: 200 }, (_, n) => `${word} ${n}`);
  const underWay = ask(serve.socket, { input: many("long") });
  await reload(set("other"), "reloaded");
  assertEquals((await underWay).data.length, 200);
  const other = await ask(serve.socket, { input: "open port 80" });
  assertEquals(other.model, "other");
  assertTrue(other.data[0].embedding.join() !== tiny.data[0].embedding.join());
  const said = await reload(set("none"), "Cannot reload");
  assertIncludes(said, "none");
  assertEquals((await ask(serve.socket, { input: "a" })).model, "other");
  await reload(set("tiny"), "reloaded");
  assertEquals((await ask(serve.socket, { input: "open port 80" })).data, tiny.data);
  assertEquals(await serve.stop(), 0);
});
