import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import { InputError, LockedError, OpError } from "../../lib/base/errors.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { Layout } from "../../lib/base/layout.ts";
import { resolveConfig } from "../../lib/base/config.ts";
import { initRoot } from "../../lib/base/root.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { addHold, removeHolds } from "../../lib/snapshot/holds.ts";
import { deleteSnapshot, findSnapshot } from "../../lib/snapshot/remove.ts";
import { allTargets, findTarget } from "../../lib/snapshot/target.ts";

const T0 = Date.UTC(2025, 0, 15, 10);
const names = (found: readonly { name: string }[]) => found.map(({ name }) => name);

platformTest(
  "create, list, delete: named by UTC minute, read-only, recognised",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache");
    await Deno.writeTextFile(`${root.layout.embeddings}/note`, "kept");
    const made = [];
    for (const nowMs of [T0, T0 + 42_000, T0 + 42_007, T0 + 3_600_000]) {
      made.push(await createSnapshot(cache, { nowMs }));
    }
    assertEquals(names(made), [
      "cache@2025-01-15-10:00",
      "cache@2025-01-15-10:00:42",
      "cache@2025-01-15-10:00:42.007",
      "cache@2025-01-15-11:00",
    ]);
    const all = listFound(cache);
    assertEquals(names(all), names(made));
    for (const { path, info, problem } of all) {
      assertEquals([info.readOnly, problem], [true, null]);
      assertEquals(await Deno.readTextFile(`${path}/embeddings/note`), "kept");
    }
    const truth = await sh("btrfs", "subvolume", "list", "-r", root.mount);
    assertEquals(truth.trim().split("\n").length, 4);
    await deleteSnapshot(cache, "2025-01-15-10:00");
    await deleteSnapshot(cache, "cache@2025-01-15-10:00:42.007");
    assertEquals(names(listFound(cache)), [
      "cache@2025-01-15-10:00:42",
      "cache@2025-01-15-11:00",
    ]);
    const wrong = await assertRejects(
      () => deleteSnapshot(cache, "2025-01-15-11:01"),
      InputError,
    );
    assertEquals(wrong.hint, "did you mean cache@2025-01-15-11:00?");
  },
);

platformTest(
  "the same millisecond twice is refused, nothing is overwritten",
  async () => {
    await using root = await testRoot();
    const state = root.target("state");
    for (let i = 0; i < 3; i++) await createSnapshot(state, { nowMs: T0 + 7 });
    await assertRejects(
      () => createSnapshot(state, { nowMs: T0 + 7 }),
      OpError,
      /EEXIST/,
    );
    assertEquals(listFound(state).length, 3);
  },
);

platformTest(
  "nested subvolumes are refused, allowed when told, and then named",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache");
    await sh("btrfs", "subvolume", "create", `${cache.path}/nested`);
    const refused = await assertRejects(() => createSnapshot(cache), OpError);
    assertEquals(refused.code, "nested_subvolumes");
    assertIncludes(refused.message, "the nested subvolume nested would be missing");
    assertEquals(listFound(cache), []);
    const made = await createSnapshot(cache, { allowNested: true });
    assertEquals(made.notes, ["nested subvolume nested is not in it"]);
  },
);

platformTest(
  "what is not op-dbus's is listed with the reason and not deleted",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache"), { folder } = cache;
    await createSnapshot(cache, { nowMs: T0 });
    await sh("btrfs", "subvolume", "create", `${folder}/mine`);
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      cache.path,
      `${folder}/cache@2025-01-15-12:00`,
    );
    const other = root.layout.state;
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      "-r",
      other,
      `${folder}/cache@2025-01-15-13:00`,
    );
    await Deno.mkdir(`${folder}/cache@2025-01-15-14:00`);
    const problems = listFound(cache).map(({ name, problem }) => [name, problem]);
    assertEquals(problems, [
      ["cache@2025-01-15-10:00", null],
      ["cache@2025-01-15-12:00", "it is writable, so its content may have changed"],
      ["cache@2025-01-15-13:00", "it is no snapshot of this target"],
      ["mine", "its name is not one that op-dbus gives"],
    ]);
    for (const name of ["cache@2025-01-15-12:00", "cache@2025-01-15-13:00"]) {
      const refused = await assertRejects(() => deleteSnapshot(cache, name), OpError);
      assertEquals(refused.code, "not_ours");
      await deleteSnapshot(cache, name, { force: true });
    }
  },
);

platformTest(
  "a hold protects until it is released; a damaged hold still protects",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache");
    const { name } = await createSnapshot(cache, { nowMs: T0 });
    addHold(cache.folder, name, "before ../upgrade", T0);
    addHold(cache.folder, name, "audit", T0);
    addHold(cache.folder, name, "audit", T0);
    assertEquals(
      findSnapshot(cache, name).holds.map(({ tag }) => tag).sort(),
      ["audit", "before ../upgrade"],
    );
    const held = await assertRejects(
      () => deleteSnapshot(cache, name, { force: true }),
      OpError,
    );
    assertEquals(held.code, "held");
    assertEquals(removeHolds(cache.folder, name, "none"), []);
    assertEquals(removeHolds(cache.folder, name, "audit"), ["audit"]);
    for (const damaged of ["{", "null", "[]"]) {
      await Deno.writeTextFile(`${cache.folder}/.holds/${name}/torn`, damaged);
      removeHolds(cache.folder, name, "before ../upgrade");
      await assertRejects(
        () => deleteSnapshot(cache, name),
        OpError,
        /unreadable hold torn/,
      );
    }
    removeHolds(cache.folder, name, null);
    await deleteSnapshot(cache, name);
    assertThrows(() => addHold(cache.folder, name, "", T0), InputError);
    assertThrows(() => addHold(cache.folder, name, "a\nb", T0), InputError);
    assertThrows(() => addHold(cache.folder, name, "x".repeat(2000), T0), InputError);
    const long = `replica ssh://root@host/${"deep/".repeat(80)}`; // longer than a file name
    addHold(cache.folder, name, long, T0);
    assertEquals(removeHolds(cache.folder, name, long), [long]);
  },
);

platformTest("while another run holds the lock: exit 5, or waiting", async () => {
  await using root = await testRoot();
  const cache = root.target("cache");
  const lock = await acquireLock(cache.lock);
  const error = await assertRejects(() => createSnapshot(cache), LockedError);
  assertEquals(error.exitCode, 5);
  const waiting = createSnapshot(cache, { waitMs: 60_000 });
  lock[Symbol.dispose]();
  assertTrue((await waiting).name.startsWith("cache@"));
});

platformTest(
  "targets: areas, plugins, configured ones; another file system is explained",
  async () => {
    await using other = await btrfsScratch();
    const toml = `
[snapshot.targets.home]
path = "MOUNT/home"
policy = "long"
[snapshot.targets.far]
path = "MOUNT/home"
folder = "FAR/snapshots"
[snapshot.targets.cache]
policy = "short"
`;
    await using root = await testRoot(toml.replace("FAR", other.path));
    await sh("btrfs", "subvolume", "create", `${root.mount}/home`);
    await sh("btrfs", "subvolume", "create", root.layout.plugin("lxc"));
    const all = allTargets(root.layout, root.config);
    assertEquals(names(all), [
      "cache",
      "state",
      "timing",
      "vectors",
      "plugin-lxc",
      "home",
      "far",
    ]);
    assertEquals(all.map(({ policy }) => policy).slice(0, 2), ["short", "default"]);
    assertEquals(root.target("home").folder, `${root.layout.root}/@home-snapshots`);
    await createSnapshot(root.target("home"), { nowMs: T0 });
    assertEquals(names(listFound(root.target("home"))), ["home@2025-01-15-10:00"]);

    const { pluginSnapshots } = root.layout;
    const lxc = root.layout.plugin("lxc");
    await createSnapshot(root.target("plugin-lxc"), { nowMs: T0 });
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      "-r",
      lxc,
      `${pluginSnapshots}/lxc@v1.2.0`,
    );
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      "-r",
      lxc,
      `${pluginSnapshots}/net@2025-01-15-10:00`,
    );
    assertEquals(names(listFound(root.target("plugin-lxc"))), ["lxc@2025-01-15-10:00"]);

    const far = await assertRejects(() => createSnapshot(root.target("far")), OpError);
    assertEquals(far.code, "other_file_system");
    const typo = assertThrows(() => root.target("cahce"), InputError);
    assertEquals(typo.hint, "did you mean cache?");
    for (const bad of ["", "..", "a/b", "plugin-", "plugin-../x", "@cache"]) {
      assertThrows(() => root.target(bad), InputError);
    }
  },
);

Deno.test("on a plain root: one clear error with the way out", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(`${scratch.path}/root`);
  initRoot({ root: layout.root, plain: true });
  const cache = findTarget(layout, resolveConfig({}), "cache");
  const error = await assertRejects(() => createSnapshot(cache), OpError);
  assertEquals(error.code, "not_a_subvolume");
  assertIncludes(error.hint!, "--loopback");
});

platformTest("a garbage index.db is noted and snapshotted as it is", async () => {
  await using root = await testRoot();
  await Deno.writeTextFile(root.layout.index, "garbage".repeat(1000));
  const { notes, path } = await createSnapshot(root.target("cache"));
  assertEquals(notes.length, 1);
  assertIncludes(notes[0]!, "index.db was not checkpointed: file is not a database");
  assertTrue((await Deno.stat(`${path}/embeddings/index.db`)).size > 0);
});

platformTest("the caller's hook runs before, and is disposed of after", async () => {
  await using root = await testRoot();
  const order: string[] = [];
  await createSnapshot(root.target("cache"), {
    async beforeSnapshot(target) {
      order.push(`before ${target.name}`);
      await Deno.writeTextFile(`${target.path}/flushed`, "");
      return {
        [Symbol.dispose]() {
          order.push("after");
        },
      };
    },
  });
  assertEquals(order, ["before cache", "after"]);
  const [found] = listFound(root.target("cache"));
  assertTrue((await Deno.stat(`${found!.path}/flushed`)).isFile);
});
