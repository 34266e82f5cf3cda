import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
} from "../support/assert.ts";
import { startStore } from "../support/store.ts";
import { OpError, RolledBackError } from "../../lib/base/errors.ts";
import {
  createCheckpoint,
  listCheckpoints,
  readCheckpoint,
  writeCheckpoint,
} from "../../lib/state/checkpoint.ts";
import {
  confirmPending,
  isConfirmed,
  offerConfirmation,
  readJournal,
  withdrawOffer,
  writeJournal,
} from "../../lib/state/journal.ts";
import { rollbackToBlock, rollbackToCheckpoint } from "../../lib/state/rollback.ts";

Deno.test("a rollback to an older checkpoint undoes what was applied since as well", async () => {
  await using store = await startStore();
  const { root } = store;
  const { checkpoint } = await root.apply({ store: { a: "1" } });
  await root.apply({ store: { b: "1", items: ["three"] } });
  await root.apply({ store: { a: "2", b: "2" } });
  const back = await rollbackToCheckpoint(checkpoint!, root.options);
  const { a, b, items } = await root.state("store");
  assertEquals([a, b, items], ["a", "b", ["one", "two"]]);
  assertEquals(back.lost, []);
  // And a rollback is undone like any other apply.
  await rollbackToCheckpoint(back.checkpoint!, root.options);
  assertEquals((await root.state("store")).b, "2");
});

Deno.test("a checkpoint of the whole state is exact about sets, whoever changed them", async () => {
  await using store = await startStore();
  const { root } = store;
  const made = await createCheckpoint(root.layout, root.plugins, root.buses);
  await root.apply({ store: { items: ["three"], a: "x" } });
  const bus = await root.buses.get("system");
  await bus.call({
    ...{ destination: "org.test.Store", path: "/org/test/Store" },
    ...{ interface: "org.test.Store", member: "AddItem", signature: "s", args: ["four"] },
  });
  const { plan } = await rollbackToCheckpoint(made.id, root.options);
  assertEquals(plan.changes.length, 3);
  const { a, items } = await root.state("store");
  assertEquals([a, items], ["a", ["one", "two"]]);
});

Deno.test("an apply that the chain cannot note is done all the same, and says both", async () => {
  await using store = await startStore();
  const { root } = store;
  const full = () => Promise.reject(new OpError("no_space", "No space for a block"));
  const error = await assertRejects(
    () => root.apply({ store: { a: "1" } }, { recorder: { record: full } }),
    OpError,
  );
  assertIncludes(error.message, /^Everything was applied, but .*No space for a block/);
  const { id } = readCheckpoint(root.layout, "latest");
  assertIncludes(error.hint ?? "", id);
  assertEquals((await root.state("store")).a, "1");
  await rollbackToCheckpoint(id, root.options);
});

Deno.test("after an apply that changed nothing in the end, latest is the one before", async () => {
  await using store = await startStore();
  const { root } = store;
  const { checkpoint } = await root.apply({ store: { a: "1" } });
  for (const member of ["SetB", "SetC"]) {
    await store.arm(member, "fail");
    await assertRejects(() => root.apply({ store: { b: "2", c: "2" } }), OpError);
  }
  assertEquals(listCheckpoints(root.layout).map(({ id }) => id), [checkpoint!]);
  assertEquals(readCheckpoint(root.layout, "latest").id, checkpoint);
});

Deno.test("a rollback that fails leaves what a crash left, and where to go back to", async () => {
  await using store = await startStore();
  const { root } = store;
  await root.apply({ store: { a: "1", b: "1" } });
  const crashed = readCheckpoint(root.layout, "latest").id;
  const journal = {
    ...{ checkpoint: crashed, pid: 1, started: "2026-01-01T00:00:00Z" },
    ...{ changes: ["store.a"], confirm_until: null },
  };
  writeJournal(root.layout, journal);
  // The first call fails, or the second; both times nothing is brought back.
  for (const member of ["SetA", "SetB"]) {
    await store.arm(member, "fail");
    await assertRejects(() => rollbackToCheckpoint(crashed, root.options), OpError);
    assertEquals(readJournal(root.layout), journal);
  }
  // Not even undone: it still leads to the state before the crash.
  await store.arm("SetB", "die");
  const half = await assertRejects(
    () => rollbackToCheckpoint(crashed, root.options),
    RolledBackError,
  );
  assertIncludes(half.hint ?? "", crashed);
  assertEquals(readJournal(root.layout)!.checkpoint, crashed);
  await store.restart();
  await assertRejects(() => root.apply({ store: { a: "9" } }), OpError, /stopped in/);
  await root.buses.get("system");
  await rollbackToCheckpoint(crashed, root.options);
  assertEquals(readJournal(root.layout), null);
});

Deno.test("a rollback to a block undoes an apply that a crash ended before its block", async () => {
  await using store = await startStore();
  const { root } = store;
  await root.apply({ store: { a: "1" } });
  const blocks = root.recorded.map((action, i) => ({ ...action, number: i + 1 }));
  await root.apply({ store: { b: "1" } });
  const { id } = readCheckpoint(root.layout, "latest");
  writeJournal(root.layout, {
    ...{ checkpoint: id, pid: 1, started: "2026-01-01T00:00:00Z" },
    ...{ changes: ["store.b"], confirm_until: null },
  });
  await rollbackToBlock(1, blocks, root.options);
  const { a, b } = await root.state("store");
  assertEquals([a, b], ["1", "b"]);
  assertEquals(readJournal(root.layout), null);
});

Deno.test("what no plugin knows any more is named, the rest is brought back", async () => {
  await using store = await startStore();
  const { root } = store;
  await root.apply({ store: { a: "1" } });
  const { plugins } = readCheckpoint(root.layout, "latest");
  const content = { reason: "apply", left_out: [] };
  const more = { ...plugins, gone: { x: 1 }, store: { ...plugins.store, old: 1 } };
  const { id } = writeCheckpoint(root.layout, { ...content, plugins: more });
  const { lost, leftOut } = await rollbackToCheckpoint(id, root.options);
  assertEquals(lost.map((text) => text.split(" ")[0]), ["store.old", "gone"]);
  assertEquals(leftOut, lost);
  assertEquals((await root.state("store")).a, "a");
  const only = { ...content, plugins: { gone: { x: 1 } } };
  writeCheckpoint(root.layout, only, new Date(Date.now() + 5000));
  await assertRejects(
    () => rollbackToCheckpoint("latest", { ...root.options, plugins: [] }),
    OpError,
    /Cannot bring back gone/,
  );
});

Deno.test("checkpoints keep their order past ten in a second, and with a clock set back", async () => {
  await using store = await startStore();
  const { layout } = store.root;
  const made: string[] = [];
  for (let n = 0; n < 12; n++) {
    const now = new Date(Date.UTC(2026, 0, 1, 0, 0, n === 11 ? -30 : 0));
    const content = { reason: String(n), plugins: {}, left_out: [] };
    made.push(writeCheckpoint(layout, content, now).id);
  }
  assertEquals(listCheckpoints(layout).map(({ id }) => id), made);
  assertEquals(readCheckpoint(layout, "latest").reason, "11");
  // A damaged one hides no other, and is called so.
  const file = `${layout.state}/checkpoints/${made[3]}.json`;
  await Deno.writeTextFile(file, "{");
  const damaged: string[] = [];
  const left = listCheckpoints(layout, ({ message }) => damaged.push(message));
  assertEquals([left.length, damaged.length], [11, 1]);
  assertThrows(() => readCheckpoint(layout, made[3]!), OpError, /cannot be read/);
});

Deno.test("a confirmation and its withdrawal in the same moment: one counts, both know", async () => {
  await using store = await startStore();
  const { layout } = store.root;
  const offer = (checkpoint: string) =>
    offerConfirmation(layout, {
      ...{ checkpoint, pid: 1, started: "2026-01-01T00:00:00Z", changes: [] },
      confirm_until: new Date(Date.now() + 60_000).toISOString(),
    });
  offer("one");
  assertEquals(withdrawOffer(layout, "one"), true);
  assertThrows(() => confirmPending(layout), OpError, /is being undone/);
  assertEquals(isConfirmed(layout, "one"), false);
  offer("two");
  assertEquals(confirmPending(layout).checkpoint, "two");
  assertEquals(withdrawOffer(layout, "two"), false);
  assertEquals(confirmPending(layout).checkpoint, "two");
  assertEquals(isConfirmed(layout, "two"), true);
  offer("three");
  assertEquals(isConfirmed(layout, "three"), false);
});
