import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { cli, spawnCli } from "../support/cli.ts";
import { client } from "../support/private_bus.ts";
import { signs } from "../support/state_root.ts";
import { startStore, type Store, storeMapping } from "../support/store.ts";
import {
  InputError,
  InterruptedError,
  LockedError,
  OpError,
  RolledBackError,
} from "../../lib/base/errors.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { listCheckpoints } from "../../lib/state/checkpoint.ts";
import { apply } from "../../lib/state/apply.ts";
import type { Plan } from "../../lib/state/model.ts";
import { readCurrent } from "../../lib/state/current.ts";
import { readJournal } from "../../lib/state/journal.ts";
import { rollbackToCheckpoint } from "../../lib/state/rollback.ts";

const ALL = { store: { a: "x", b: "y", c: "z" } };
const BEFORE = { a: "a", b: "b", c: "c", n: 7, items: ["one", "two"] };

Deno.test("a failure in the middle undoes in reverse and ends with 6", async () => {
  await using store = await startStore();
  await store.arm("SetC", "fail");
  const error = await assertRejects(() => store.root.apply(ALL), RolledBackError);
  assertIncludes(error.message, /store\.c: .*told to fail; 2 of 2 changes undone/);
  assertEquals(error.exitCode as number, 6);
  assertEquals(await store.log(), [
    "SetA(x)",
    "SetB(y)",
    "SetC(z)",
    "SetB(b)",
    "SetA(a)",
  ]);
  assertEquals(await store.root.state("store"), BEFORE);
  assertEquals(readJournal(store.root.layout), null);
  assertEquals(readCurrent(store.root.layout), null);
  assertEquals(store.root.recorded, []);
});

Deno.test("when the first call fails nothing was changed, and that is said", async () => {
  await using store = await startStore();
  for (
    const name of [
      "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
      "org.freedesktop.Accounts.Error.PermissionDenied",
      "x.y.NotAuthorizedException",
    ]
  ) {
    await store.arm("SetA", `deny:${name}`);
    const error = await assertRejects(() => store.root.apply(ALL), OpError);
    assertEquals([error.code, error.exitCode as number], ["permission_denied", 1]);
    assertIncludes(error.message, "nothing was changed");
  }
  assertEquals(readJournal(store.root.layout), null);
});

Deno.test("what cannot be undone is named; then a rollback is asked for", async () => {
  await using store = await startStore();
  await store.arm("SetC", "die");
  const error = await assertRejects(() => store.root.apply(ALL), RolledBackError);
  assertIncludes(error.message, /0 of \d changes undone, NOT undone: .*store\.b/);
  assertIncludes(error.hint ?? "", "rollback --to-checkpoint");
  await store.restart();
  const refused = await assertRejects(() => store.root.apply(ALL), OpError);
  assertEquals(refused.code, "interrupted_apply");
  const [checkpoint] = listCheckpoints(store.root.layout);
  await rollbackToCheckpoint(checkpoint!.id, store.root.options);
  assertEquals((await store.root.apply(ALL)).applied.length, 3);
});

Deno.test("a service that answers and does nothing is found out, and undone", async () => {
  await using store = await startStore();
  await store.arm("SetB", "lie");
  const error = await assertRejects(() => store.root.apply(ALL), RolledBackError);
  assertIncludes(error.message, "not as wanted: store.b");
  assertEquals(await store.root.state("store"), BEFORE);
});

Deno.test("a call that hangs: undone when it took effect, left alone when not", async () => {
  await using store = await startStore();
  for (const [mode, undone] of [["late", "2 of 2"], ["hang", "1 of 1"]]) {
    await store.arm("SetB", mode!);
    const error = await assertRejects(() => store.root.apply(ALL), RolledBackError);
    const later = mode === "hang" ? " (the service may still do it later)" : "";
    assertIncludes(
      error.message,
      `no answer within 300 ms${later}; ${undone} changes undone`,
    );
    assertEquals(await store.root.state("store"), BEFORE);
  }
});

Deno.test("Ctrl-C: the call under way is finished, then all is undone", async () => {
  await using store = await startStore();
  const stop = new AbortController();
  const error = await assertRejects(
    () =>
      store.root.apply(ALL, {
        signal: stop.signal,
        progress: (done) => {
          if (done === 1) stop.abort(new InterruptedError("interrupted", "Ctrl-C"));
        },
      }),
    InterruptedError,
  );
  assertIncludes(error.message, "2 of 2 changes undone");
  assertEquals(await store.log(), ["SetA(x)", "SetB(y)", "SetB(b)", "SetA(a)"]);
});

Deno.test("a dry run, a diff and a query call nothing that changes", async () => {
  await using store = await startStore();
  const dry = await store.root.apply(ALL, { dryRun: true });
  assertEquals(signs(dry.plan.changes), ["~ store.a", "~ store.b", "~ store.c"]);
  assertEquals(dry.skipped.length, 3);
  await store.root.diff(ALL);
  await store.root.state("store");
  assertEquals(await store.log(), []);
  assertEquals(listCheckpoints(store.root.layout), []);
});

Deno.test("only-safe leaves out what needs a yes; a no changes nothing", async () => {
  const safe = "[methods.set_a]\nsafe = true\n";
  await using store = await startStore(storeMapping().replace("[methods.set_a]\n", safe));
  const asked: string[] = [];
  await assertRejects(
    () =>
      store.root.apply(ALL, {
        confirm: (_plan, asking) => {
          asked.push(...asking.map(({ id }) => id));
          throw new InputError("declined", "no");
        },
      }),
    InputError,
  );
  assertEquals(asked, ["store.b", "store.c"]);
  assertEquals(await store.log(), []);
  const { applied, skipped } = await store.root.apply(ALL, { onlySafe: true });
  assertEquals([applied, skipped], [["store.a"], ["store.b", "store.c"]]);
  assertEquals(await store.log(), ["SetA(x)"]);
});

Deno.test("64-bit properties are written exactly, and undone exactly", async () => {
  await using store = await startStore();
  await store.root.apply({ store: { n: "18446744073709551615" } });
  assertEquals((await store.root.state("store")).n, "18446744073709551615");
  const [checkpoint] = listCheckpoints(store.root.layout);
  await rollbackToCheckpoint(checkpoint!.id, store.root.options);
  assertEquals((await store.root.state("store")).n, 7);
  assertEquals(await store.log(), ["N = 18446744073709551615", "N = 7"]);
});

Deno.test("sets: additive by default, exact when exclusive, deletions last", async () => {
  await using store = await startStore();
  const added = await store.root.apply({ store: { items: ["two", "three"], c: "z" } });
  assertEquals(added.applied, ["store.c", "store.items: three"]);
  assertEquals((await store.root.state("store")).items, ["one", "two", "three"]);
  await store.root.put(
    "store",
    "semantic-mapping.toml",
    storeMapping("exclusive = true"),
  );
  const exact = await store.root.diff({ store: { items: ["four", "two"] } });
  assertEquals(signs(exact.changes), [
    "+ store.items: four",
    "- store.items: three",
    "- store.items: one",
  ]);
});

Deno.test("a plan is stale when its calls would be others, or while a person was asked", async () => {
  await using store = await startStore();
  const { root } = store;
  const plan = await root.diff(ALL);
  const forged = structuredClone(plan) as unknown as { changes: { call: object }[] };
  forged.changes[0]!.call = { ...forged.changes[0]!.call, member: "SetB" };
  const stale = async (saved: Plan) => {
    const error = await assertRejects(
      () => apply({ plan: saved }, root.options),
      OpError,
    );
    assertEquals(error.code, "stale_plan");
  };
  await stale(forged as unknown as Plan);
  const slower = storeMapping().replaceAll("300ms", "400ms");
  await root.put("store", "semantic-mapping.toml", slower);
  await stale(plan);
  assertEquals(await store.log(), []);

  // Somebody else changes it while the question stands on the terminal.
  const confirm = async () => {
    await client(
      ...[store.bus.address, "busctl", `--address=${store.bus.address}`] as const,
      ...[
        "call",
        "org.test.Store",
        "/org/test/Store",
        "org.test.Store",
        "SetB",
        "s",
        "w",
      ],
    );
    return true;
  };
  const error = await assertRejects(() => root.apply(ALL, { confirm }), OpError);
  assertEquals(error.code, "stale_plan");
  assertEquals(await store.log(), ["SetB(w)"]);
  await apply({ plan: await root.diff(ALL) }, root.options);
});

Deno.test("what a set holds cannot paint the terminal", async () => {
  await using store = await startStore();
  const file = `${store.bus.folder}/paint.json`;
  const plugins = { store: { items: ["\x1b[31mred\x9b1m"] } };
  await Deno.writeTextFile(file, JSON.stringify({ version: 1, plugins }));
  const env = {
    OPDBUS_ROOT: store.root.layout.root,
    DBUS_SYSTEM_BUS_ADDRESS: store.bus.address,
  };
  const outputs = [];
  for (
    const words of [
      ["diff", file],
      ["apply", file, "--yes"],
      ["query", "--fresh"],
      ["checkpoint", "show", "latest"],
    ]
  ) {
    const { code, stdout, stderr } = await cli(words, { env });
    assertEquals(code, 0, stderr);
    outputs.push(stdout + stderr);
  }
  assertEquals(outputs.map((text) => text.match(/(?!\n)\p{Cc}/u)?.[0]), [
    ...[undefined, undefined, undefined, undefined],
  ]);
  assertIncludes(outputs[1]!, "done  store.items: \\x1b[31mred\\x9b1m");
});

Deno.test("two applies at once: the second ends with 5", async () => {
  await using store = await startStore();
  using _held = await acquireLock(store.root.layout.lock("state"));
  const error = await assertRejects(() => store.root.apply(ALL), LockedError);
  assertEquals(error.exitCode as number, 5);
});

/** Starts `op-dbus apply` of everything and waits until the service has begun a call. */
async function applyUntil(store: Store, begun: string) {
  const file = `${store.bus.folder}/state.json`;
  await Deno.writeTextFile(file, JSON.stringify({ version: 1, plugins: ALL }));
  const env = {
    OPDBUS_ROOT: store.root.layout.root,
    DBUS_SYSTEM_BUS_ADDRESS: store.bus.address,
  };
  const child = spawnCli(["apply", file, "--yes"], { env });
  await child.stdin.close();
  const ended = child.output();
  let over = false;
  ended.then(() => over = true);
  while (!over && !(await store.log()).includes(begun)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(over, false);
  return { child, ended, env, file };
}

Deno.test("Ctrl-C at the command line: the call under way ends, all is undone, exit 130", async () => {
  await using store = await startStore(storeMapping().replaceAll("300ms", "60s"));
  await store.arm("SetB", "wait");
  const { child, ended } = await applyUntil(store, "SetB(y)");
  child.kill("SIGINT");
  // A second apply meanwhile: the first one still holds the lock.
  await assertRejects(() => store.root.apply(ALL), LockedError);
  await store.release();
  const { code, stderr } = await ended;
  assertEquals(code, 130);
  assertIncludes(new TextDecoder().decode(stderr), "Stopped; 2 of 2 changes undone");
  assertEquals(await store.log(), ["SetA(x)", "SetB(y)", "SetB(b)", "SetA(a)"]);
  assertEquals(readJournal(store.root.layout), null);
});

Deno.test("kill -9 in the middle: the next command says so, a rollback mends it", async () => {
  await using store = await startStore(storeMapping().replaceAll("300ms", "60s"));
  await store.arm("SetB", "hang");
  const { child, ended, env, file } = await applyUntil(store, "SetB(y)");
  child.kill("SIGKILL");
  await ended;
  const next = await cli(["apply", file, "--yes"], { env });
  assertEquals(next.code, 1);
  assertIncludes(next.stderr, "stopped in the middle");
  const back = await cli(["rollback", "--to-checkpoint", "latest", "--yes"], { env });
  assertEquals(back.code, 0, back.stderr);
  assertEquals(await store.root.state("store"), BEFORE);
  const again = await cli(["apply", file, "--yes"], { env });
  assertEquals(again.code, 0, again.stderr);
});

Deno.test("a wrong document is refused before anything is read", async () => {
  await using store = await startStore();
  for (
    const [wanted, expected] of [
      [{ a: 5 }, "/plugins/store/a: expected a string"],
      [{ a: null }, "/plugins/store/a: null is no value"],
      [{ n: -1 }, "/plugins/store/n: expected an unsigned 64-bit integer"],
      [{ items: "x" }, '"present" and "absent"'],
      [{ items: { present: ["q"], absent: ["q"] } }, "both present and absent"],
      [{ zz: 1 }, "/plugins/store/zz: is unknown to the plugin store"],
    ] as const
  ) {
    const error = await assertRejects(
      () => store.root.diff({ store: wanted as never }),
      InputError,
    );
    assertIncludes(error.message, expected);
  }
  assertEquals(await store.root.buses.roundTrips(), 0);
});
