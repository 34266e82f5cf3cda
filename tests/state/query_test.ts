import { assertEquals, assertIncludes, assertThrows } from "../support/assert.ts";
import { startStore, storeMapping } from "../support/store.ts";
import { InputError } from "../../lib/base/errors.ts";
import { cachedPlan } from "../../lib/state/diff.ts";
import { parseJsonText } from "../../lib/state/json_text.ts";
import { query } from "../../lib/state/query.ts";
import {
  changeMark,
  forgetQueries,
  readQuery,
  writeQuery,
} from "../../lib/state/query_cache.ts";
import { watchQueries } from "../../lib/state/watch.ts";

Deno.test("a query is cached for its age, by its mapping, and forgotten after an apply", async () => {
  await using store = await startStore();
  const { root } = store;
  const options = { layout: root.layout, buses: root.buses };
  const ask = (more = {}) => query(root.plugins, { ...options, ...more });
  assertEquals((await ask())[0]!.cached, false);
  const trips = await root.buses.roundTrips();
  // One GetAll for the properties, one call for the items.
  assertEquals(trips, 2);
  assertEquals((await ask())[0]!.cached, true);
  assertEquals(await root.buses.roundTrips(), trips);
  const later = new Date(Date.now() + 60_000);
  assertEquals((await ask({ now: later }))[0]!.cached, false);
  // Written by a clock that was ahead: not young for ever.
  assertEquals((await ask())[0]!.cached, false);
  assertEquals((await ask({ maxAgeMs: 0 }))[0]!.cached, false);

  const file = `${root.layout.queries}/store/state.json`;
  await Deno.writeTextFile(file, "{broken");
  assertEquals((await ask())[0]!.cached, false);
  await root.put("store", "semantic-mapping.toml", storeMapping("exclusive = true"));
  assertEquals((await ask())[0]!.cached, false);
  assertEquals((await ask())[0]!.cached, true);
  await root.apply({ store: { a: "new" } });
  assertEquals(readQuery(root.layout, "store"), null);
});

Deno.test("a signal of the service, and its end, drop what was cached", async () => {
  await using store = await startStore();
  const { root } = store;
  await query(root.plugins, { layout: root.layout, buses: root.buses });
  const changes: string[] = [];
  let told = Promise.withResolvers<void>();
  const bus = await root.buses.get("system");
  const watch = await watchQueries(root.layout, root.plugins, bus, {
    changed: (plugin) => {
      changes.push(plugin);
      told.resolve();
    },
  });
  await root.apply({ store: { a: "x" } });
  await told.promise;
  await query(root.plugins, { layout: root.layout, buses: root.buses });
  assertEquals(readQuery(root.layout, "store") !== null, true);
  told = Promise.withResolvers<void>();
  await store.arm("SetA", "die");
  await root.apply({ store: { a: "y" } }).catch(() => {});
  await told.promise;
  assertEquals(readQuery(root.layout, "store"), null);
  await watch[Symbol.asyncDispose]();
  assertEquals(new Set(changes), new Set(["store"]));
});

Deno.test("what changed while it was read is not kept", async () => {
  await using store = await startStore();
  const { layout, plugins, buses } = store.root;
  await query(plugins, { layout, buses });
  const kept = readQuery(layout, "store")!;
  const mark = changeMark(layout, "store");
  writeQuery(layout, "store", kept, mark);
  assertEquals(readQuery(layout, "store"), kept);
  forgetQueries(layout, "store");
  writeQuery(layout, "store", kept, mark);
  assertEquals(readQuery(layout, "store"), null);
});

Deno.test("one plugin that cannot be read hides no other", async () => {
  await using store = await startStore();
  const gone = storeMapping().replaceAll("org.test.Store", "org.test.Gone");
  await store.root.put(
    "gone",
    "plugin.toml",
    '[plugin]\nname = "gone"\nversion = "1.0.0"\nauthor = "x"\n',
  );
  await store.root.put("gone", "semantic-mapping.toml", gone);
  const { layout, buses, plugins } = store.root;
  const [bad, good] = await query(plugins, { layout, buses });
  assertEquals([bad!.plugin, bad!.error?.code, bad!.states], [
    "gone",
    "dbus_no_service",
    null,
  ]);
  assertEquals(good!.states?.a, "a");
});

Deno.test("the same question has the same plan, from the cache", async () => {
  await using store = await startStore();
  const { root } = store;
  const desired = { store: { a: "x", items: ["three"] } };
  const first = await root.diff(desired);
  const names = () => [...Deno.readDirSync(root.layout.diffs)].map(({ name }) => name);
  assertEquals(names().length, 1);
  const again = await root.diff(desired);
  assertEquals(again.created, first.created);
  // A cached query answers without the service; the plan is the same.
  await query(root.plugins, { layout: root.layout, buses: root.buses });
  const trips = await root.buses.roundTrips();
  assertEquals((await root.diff(desired, 60_000)).changes, first.changes);
  assertEquals(await root.buses.roundTrips(), trips);
  const observed = { store: { a: "other", items: ["three"] } };
  const other = cachedPlan(root.layout, root.plugins, desired, observed, "f");
  assertEquals(other.changes.length, 1);
  await Deno.writeTextFile(`${root.layout.diffs}/${names()[0]}`, "{}");
  await Deno.writeTextFile(`${root.layout.diffs}/${names()[1]}`, "nonsense");
  assertEquals((await root.diff(desired)).changes, first.changes);
});

Deno.test("a seed-style mapping without types gets them by introspection", async () => {
  const untyped = storeMapping().replaceAll('{ name = "value", type = "s" }', '"value"')
    .replaceAll('{ name = "item", type = "s" }', '"item"');
  await using store = await startStore(untyped);
  const { applied } = await store.root.apply({ store: { a: "x", items: ["new"] } });
  assertEquals(applied, ["store.a", "store.items: new"]);
  assertEquals(await store.log(), ["SetA(x)", "AddItem(new)"]);
});

Deno.test("what a mapping leaves open, or a key that no path holds, hides nothing else", async () => {
  const state = (name: string, read: string, more = "") =>
    `[state.${name}]\nkind = "value"\nread = { ${read} }\n${more}`;
  const more = [
    '[methods.get_by_key]\nsafe = true\nargs = [{ name = "which", type = "u" }]\n',
    state("open", 'method = "get_by_key"'),
    state("misfit", 'method = "get_by_key", args = { which = "x" }'),
    state("path", 'property = "A", path = "{object}"'),
    state(
      ...["keyed", 'property = "A", path = "/org/test/{key}"'] as const,
      'key = "item"\nkeys = { method = "get_items" }\n',
    ),
  ];
  await using store = await startStore(storeMapping() + more.join(""));
  await store.root.apply({ store: { items: ["a-b", "Store"] } });
  const { a, open, misfit, path, keyed } = await store.root.state("store");
  assertEquals([a, keyed.Store], ["x", "x"].map(() => "a"));
  assertIncludes(open.$unknown, 'nothing gives "which"');
  assertIncludes(misfit.$unknown, "expected an unsigned 32-bit integer");
  assertIncludes(path.$unknown, 'nothing gives "object"');
  assertIncludes(keyed["a-b"].$unknown, "cannot be part of an object path");
  assertIncludes(keyed.one.$unknown, "UnknownMethod");
});

Deno.test("a method that fails makes its own value unknown, not the others", async () => {
  await using store = await startStore();
  await store.arm("GetItems", "fail");
  const state = await store.root.state("store");
  assertIncludes(state.items.$unknown, "told to fail");
  assertEquals(state.a, "a");
});

Deno.test("JSON by people: digits are kept, duplicates and depth are refused", () => {
  const text =
    '{"a": 18446744073709551615, "b": [1, 1.5, -9223372036854775808], "c": 1e3}';
  assertEquals(parseJsonText(text, "f"), {
    a: "18446744073709551615",
    b: [1, 1.5, "-9223372036854775808"],
    c: 1000,
  });
  const cases: [string, RegExp][] = [
    ['{"a":1,\n"a":2}', /f:2: the key at \/a comes twice/],
    ['{"x":[{"a/b":1},{"a/b":1,"a/b":2}]}', /the key at \/x\/1\/a~1b comes twice/],
    ['{"\\u0061":1,"a":2}', /the key at \/a comes twice/],
    ['{"a":', /f:1: not JSON/],
    ["", /not JSON/],
    ["[".repeat(65) + "]".repeat(65), /nested more than 64 deep/],
    ['{"a":"' + "[{".repeat(200) + '"', /not JSON/],
  ];
  for (const [bad, expected] of cases) {
    assertThrows(() => parseJsonText(bad, "f"), InputError, expected);
  }
  assertEquals(parseJsonText('{"a":"[{\\"b\\":1,\\"b\\":2}","b":{}}', "f"), {
    a: '[{"b":1,"b":2}',
    b: {},
  });
});
