import { assertEquals } from "../support/assert.ts";
import { client, privateBus, PYTHON } from "../support/private_bus.ts";
import { plainRoot } from "../support/cli_root.ts";
import { manifest } from "../support/state_root.ts";
import { storeMapping } from "../support/store.ts";
import { startServe } from "./serve_process.ts";

const PEER = new URL("../state/peers/store.py", import.meta.url).pathname;
const SERVICE = "org.test.Store", PATH = "/org/test/Store";

/** A root with the store's plugin on a bus of its own, and what the tests do there. */
async function place() {
  const bus = await privateBus();
  const root = await plainRoot();
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  const place = {
    ...{ bus, root, env },
    startStore: () => bus.start(SERVICE, PYTHON, PEER),
    async install(name: string) {
      const at = `${root.path}/@plugin-${name}`;
      await Deno.mkdir(at);
      await Deno.writeTextFile(`${at}/semantic-mapping.toml`, storeMapping());
      await Deno.writeTextFile(`${at}/plugin.toml`, manifest(name));
    },
    async query(plugin: string) {
      const words = ["query", "--plugin", plugin, "--max-age", "1h", "--json"];
      const { code, stdout, stderr } = await root.run(words, { env });
      assertEquals(code, 0, stderr);
      return JSON.parse(stdout).plugins[plugin].a;
    },
    setA: (value: string) =>
      client(
        ...[bus.address, "busctl", `--address=${bus.address}`, "call"] as const,
        ...[SERVICE, PATH, SERVICE, "SetA", "s", value],
      ),
    async [Symbol.asyncDispose]() {
      await root[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
  await place.startStore();
  await place.install("store");
  return place;
}

Deno.test("serve: a property that another client changes is seen by the next query", async () => {
  await using store = await place();
  const { bus, root, env, install, query, setA } = store;
  // Without serve the cache answers until its age.
  assertEquals(await query("store"), "a");
  await setA("unseen");
  assertEquals(await query("store"), "a");

  const serving = await startServe(root, ["-v", "--dbus", "system"], env);
  await serving.logged("watching services bus=system plugins=1");
  assertEquals(await query("store"), "unseen");
  await setA("seen");
  await serving.logged("queries dropped plugin=store");
  assertEquals(await query("store"), "seen");

  // A plan asked for over the bus is as exact as one from a file.
  const document = '{"version":1,"plugins":{"store":{"n":18446744073709551615}}}';
  const plan = await client(
    ...[
      bus.address,
      "busctl",
      `--address=${bus.address}`,
      "--json=short",
      "call",
    ] as const,
    ...["org.opdbus1", "/org/opdbus1", "org.opdbus1.Manager", "Plan", "s", document],
  );
  const { changes } = JSON.parse(JSON.parse(plan).data[0]);
  assertEquals(changes[0].after, "18446744073709551615");

  // A plugin that came later is watched as well.
  await install("late");
  await serving.logged("watching services bus=system plugins=2");
  assertEquals(await query("late"), "seen");
  await setA("newest");
  await serving.logged("queries dropped plugin=late");
  assertEquals(await query("late"), "newest");

  // Without the bus it goes on serving, and says once what that means.
  await bus.kill();
  await serving.logged("services are not watched");
  assertEquals(await serving.stop(), 0);
});

Deno.test("serve: a bus that was killed and started again is watched again, each time", async () => {
  await using store = await place();
  const { bus, root, env, query, setA } = store;
  await using serving = await startServe(root, ["-v"], env);
  const times = (text: string) => serving.log().split(text).length - 1;
  const seen = async (text: string, count: number) => {
    while (times(text) < count) await serving.more();
  };
  const watching = "watching services bus=system plugins=1";
  await seen(watching, 1);
  for (const round of [1, 2]) {
    assertEquals(await query("store"), round === 1 ? "a" : "after1");
    await bus.kill();
    await seen("services are not watched", round);
    await bus.revive();
    await store.startStore();
    // Whatever was there before it went is not known to be there still.
    await setA(`unseen${round}`);
    await seen(watching, round + 1);
    assertEquals(await query("store"), `unseen${round}`);
    const dropped = times("queries dropped plugin=store");
    await setA(`after${round}`);
    await seen("queries dropped plugin=store", dropped + 1);
    assertEquals(await query("store"), `after${round}`);
  }
  assertEquals(times("services are not watched"), 2);
  assertEquals(await serving.stop(), 0);
});
