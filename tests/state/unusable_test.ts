import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
} from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { manifest } from "../support/state_root.ts";
import { startStore, type Store, storeMapping } from "../support/store.ts";
import { OpError } from "../../lib/base/errors.ts";
import { loadPlugins } from "../../lib/state/plugins.ts";

/** Adds plugins of the store, each with its dependencies. */
async function withDependencies(
  { root }: Store,
  plugins: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  for (const [name, others] of Object.entries(plugins)) {
    const more = `dependencies = ${JSON.stringify(others)}\n`;
    await root.put(name, "plugin.toml", manifest(name, more));
    await root.put(name, "semantic-mapping.toml", storeMapping());
  }
}

function environment({ root, bus }: Store) {
  return {
    OPDBUS_ROOT: root.layout.root,
    DBUS_SYSTEM_BUS_ADDRESS: bus.address,
  };
}

Deno.test("of plugins in a circle of dependencies only the members are unusable", async () => {
  await using store = await startStore();
  const { layout } = store.root;
  await withDependencies(store, {
    p: ["q"],
    q: ["r", "gone"],
    r: ["p"],
    // One plugin in two circles.
    t: ["u"],
    u: ["t", "v"],
    v: ["u"],
    // On a circle, in none.
    after: ["p", "store"],
  });
  const { plugins, unusable } = loadPlugins(layout);
  assertEquals(plugins.map(({ name }) => name), ["store", "after"]);
  assertEquals([...unusable.keys()].sort(), ["p", "q", "r", "t", "u", "v"]);
  assertIncludes(unusable.get("q")!, "(q -> r -> p -> q): take one of them out");
  assertIncludes(unusable.get("v")!, "(v -> u -> v)");
  // Alone as well as among all.
  assertEquals(loadPlugins(layout, ["after"]).plugins.map((p) => p.name), ["after"]);
  const message = /^The plugin q is installed, but cannot be used: .*q -> r -> p -> q/;
  const error = assertThrows(() => loadPlugins(layout, ["q"]), OpError, message);
  assertEquals(error.code, "unusable_plugin");

  const env = environment(store);
  const all = await cli(["query", "--json"], { env });
  assertEquals(all.code, 0, all.stderr);
  assertEquals(Object.keys(JSON.parse(all.stdout).plugins), ["store", "after"]);
  assertIncludes(all.stderr, "p: its dependencies lead back to it (p -> q -> r -> p)");
  const one = await cli(["query", "--plugin", "p"], { env });
  assertEquals(one.code, 1);
  assertIncludes(one.stderr, "The plugin p is installed, but cannot be used");
});

Deno.test("a state file that names a broken plugin is told that, and why", async () => {
  await using store = await startStore();
  const { root } = store;
  const ALL = { store: { a: "x" } };
  await root.apply(ALL);
  await root.put("broken", "plugin.toml", manifest("broken"));
  await root.put("broken", "semantic-mapping.toml", "[service]\nname = 5\n");
  const wanted = { broken: { a: "x" } };
  const message = /broken is installed, but cannot be used: .*name/;
  await assertRejects(() => root.apply(wanted), OpError, message);
  await assertRejects(() => root.diff(wanted), OpError, message);

  const env = environment(store);
  const file = `${store.bus.folder}/state.json`;
  await Deno.writeTextFile(file, JSON.stringify({ version: 1, plugins: wanted }));
  for (const args of [["diff"], ["apply", "--yes"], ["verify"]]) {
    const { code, stderr } = await cli([...args, file], { env });
    assertEquals(code, 1);
    assertIncludes(stderr, "The plugin broken is installed, but cannot be used: ");
    assertIncludes(stderr, "op-dbus plugin show broken");
  }
  // What was applied before it broke.
  await root.put("store", "semantic-mapping.toml", "[service]\nname = 5\n");
  const verified = await cli(["verify"], { env });
  assertIncludes(verified.stderr, /store cannot be used \(.*\): not checked/);
  const back = await cli(["rollback", "--to-checkpoint", "latest", "--yes"], { env });
  assertEquals(back.code, 1);
  assertIncludes(back.stderr, /Cannot bring back store \(its plugin cannot be used: /);
});
