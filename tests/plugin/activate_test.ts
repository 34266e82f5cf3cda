import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import {
  prepareRemoval,
  prepareRollback,
  requireVersion,
} from "../../lib/plugin/activate.ts";
import { discover } from "../../lib/plugin/discovery.ts";
import { livePlugin } from "../../lib/plugin/installed.ts";
import { readLockFile } from "../../lib/plugin/lockfile.ts";
import { lockFilePath } from "../../lib/plugin/places.ts";
import { commit, recover } from "../../lib/plugin/transaction.ts";
import { storedVersions } from "../../lib/plugin/version_store.ts";
import {
  activate,
  addVersion,
  manifestText,
  readTree,
  type TestPlace,
  testPlace,
  writeTree,
} from "./live_kit.ts";

/** The same test on btrfs and on a plain folder. */
function onBoth(name: string, run: (root: string) => Promise<void> | void): void {
  platformTest(`${name} (btrfs)`, async () => {
    await using scratch = await btrfsScratch(256);
    await run(scratch.path);
  });
  Deno.test(`${name} (folder)`, async () => {
    await using scratch = await tempFolder();
    await run(scratch.path);
  });
}

async function rollback(place: TestPlace, name: string): Promise<void> {
  const { step, record } = prepareRollback(place, name);
  await commit(place, [step], [{ ...record, data: { ...record.data } }]);
}

async function remove(place: TestPlace, name: string, purge = false): Promise<void> {
  const { step, record } = prepareRemoval(place, name, { purge });
  await commit(place, [step], [{ ...record, data: { ...record.data } }]);
}

const live = (place: TestPlace, name = "lxc") => readTree(place.layout.plugin(name));

onBoth(
  "activate, edit, upgrade, roll back: state comes along and comes back",
  async (root) => {
    const place = testPlace(root);
    addVersion(place, "lxc", "1.0.0", { "state/c.json": "[]", "code": "1" });
    addVersion(place, "lxc", "2.0.0", {
      "state/c.json": "[]",
      "state/new": "n",
      "code": "2",
    });
    await activate(place, "lxc", "1.0.0");
    assertEquals(live(place)["code"], "1");
    assertEquals(livePlugin(place.layout, "lxc")!.marker!.version, "1.0.0");
    Deno.writeTextFileSync(`${root}/@plugin-lxc/state/c.json`, "[1]");

    const report = await activate(place, "lxc", "2.0.0");
    assertEquals(report.kept, ["state/c.json"]);
    assertEquals(live(place), {
      "code": "2",
      "plugin.toml": manifestText("lxc", "2.0.0"),
      "state/c.json": "[1]",
      "state/new": "n",
    });
    Deno.writeTextFileSync(`${root}/@plugin-lxc/state/c.json`, "[1,2]");

    await rollback(place, "lxc");
    assertEquals(live(place)["code"], "1");
    assertEquals(live(place)["state/c.json"], "[1]", "the state of that time");
    await rollback(place, "lxc");
    assertEquals(live(place)["state/c.json"], "[1,2]", "and forward again");
    assertEquals(
      place.records.map((r) => `${r.action} ${r.subject}`),
      [
        "activate lxc@1.0.0",
        "activate lxc@2.0.0",
        "rollback lxc@1.0.0",
        "rollback lxc@2.0.0",
      ],
    );
    const locked = readLockFile(lockFilePath(place.layout))!.plugins;
    assertEquals(locked.map((p) => `${p.name}@${p.version}`), ["lxc@2.0.0"]);
    const names = [...Deno.readDirSync(root)].map((e) => e.name).sort();
    assertEquals(names, ["@plugin-lxc", "@plugin-snapshots", "@previous-lxc", "meta"]);
    assertEquals(discover(place.layout).map((p) => p.name), ["lxc"]);
  },
);

onBoth(
  "remove keeps the state, an install later finds it; purge keeps nothing",
  async (root) => {
    const place = testPlace(root);
    addVersion(place, "lxc", "1.0.0", { "state/c.json": "[]" });
    addVersion(place, "lxc", "1.1.0", { "state/c.json": "[]" });
    await activate(place, "lxc", "1.0.0");
    await activate(place, "lxc", "1.1.0");
    Deno.writeTextFileSync(`${root}/@plugin-lxc/state/mine`, "m");
    await remove(place, "lxc");
    assertEquals(livePlugin(place.layout, "lxc"), null);
    assertEquals(storedVersions(place.layout).map((v) => v.version), ["1.1.0"]);
    addVersion(place, "lxc", "2.0.0", { "state/c.json": "[2]" });
    await activate(place, "lxc", "2.0.0");
    assertEquals(live(place)["state/mine"], "m");
    assertEquals(live(place)["state/c.json"], "[2]");
    await remove(place, "lxc");
    await rollback(place, "lxc");
    assertEquals(live(place)["state/mine"], "m");
    await remove(place, "lxc", true);
    const names = [...Deno.readDirSync(root)].map((e) => e.name).sort();
    assertEquals(names, ["@plugin-snapshots", "meta"]);
    assertEquals(storedVersions(place.layout), []);
    assertEquals([...Deno.readDirSync(place.layout.pluginSnapshots)], []);
    assertThrows(
      () => prepareRemoval(place, "lxc", { purge: true }),
      InputError,
      /not inst/,
    );
    assertThrows(() => prepareRollback(place, "lxc"), OpError, /Nothing to roll/);
  },
);

onBoth("dependents stop a removal and a rollback that would break them", async (root) => {
  const place = testPlace(root);
  addVersion(place, "net", "1.0.0");
  addVersion(place, "net", "2.0.0");
  addVersion(place, "lxc", "1.0.0", {}, 'dependencies = ["net@^2"]\n');
  await activate(place, "net", "1.0.0");
  await activate(place, "net", "2.0.0");
  await activate(place, "lxc", "1.0.0");
  const removal = assertThrows(
    () => prepareRemoval(place, "net", { purge: false }),
    OpError,
  );
  assertEquals(removal.code, "dependents");
  assertIncludes(removal.message, "lxc");
  const back = assertThrows(() => prepareRollback(place, "net"), OpError);
  assertIncludes(back.message, "lxc@1.0.0 wants net ^2");
  await remove(place, "lxc");
  await rollback(place, "net");
  assertEquals(livePlugin(place.layout, "net")!.manifest.version, "1.0.0");
});

onBoth("a folder of the author's own gives way and can be had back", async (root) => {
  const place = testPlace(root);
  const own = { "plugin.toml": manifestText("lxc", "0.1.0"), "state/c": "mine" };
  writeTree(`${root}/@plugin-lxc`, own);
  addVersion(place, "lxc", "1.0.0", { "state/c": "shipped" });
  const report = await activate(place, "lxc", "1.0.0");
  assertEquals(report.conflicts, [{ path: "state/c", shipped: "state/c.new" }]);
  assertEquals(live(place)["state/c"], "mine");
  await rollback(place, "lxc");
  assertEquals(live(place), own);
});

platformTest("a version that was changed after its installation is refused", async () => {
  await using scratch = await btrfsScratch(256);
  const place = testPlace(scratch.path);
  addVersion(place, "lxc", "1.0.0", { "code": "1" });
  const version = { name: "lxc", version: "1.0.0" };
  const path = `${place.layout.pluginSnapshots}/lxc@v1.0.0`;
  requireVersion(place, version);
  assertThrows(() => Deno.writeTextFileSync(`${path}/code`, "x"), Error);
  const set = (value: string) =>
    new Deno.Command("btrfs", { args: ["property", "set", path, "ro", value] })
      .outputSync();
  set("false");
  Deno.writeTextFileSync(`${path}/code`, "evil");
  set("true");
  assertThrows(() => requireVersion(place, version), DifferenceError, /not what was/);
  await assertRejects(() => activate(place, "lxc", "1.0.0"), DifferenceError);
  assertEquals(livePlugin(place.layout, "lxc"), null);
});

onBoth("a version that op-dbus did not verify is taken only on request", (root) => {
  const place = testPlace(root);
  addVersion(place, "lxc", "1.0.0");
  Deno.removeSync(`${place.layout.meta}/plugins/lxc/1.0.0.json`);
  const version = { name: "lxc", version: "1.0.0" };
  assertThrows(() => requireVersion(place, version), InputError, /not received by/);
  assertEquals(requireVersion(place, version, true).tree.length, 64);
  assertThrows(
    () => requireVersion(place, { ...version, version: "3.0.0" }),
    InputError,
    /lxc@v3.0.0 is not here/,
  );
});

onBoth("what an interrupted preparation left is cleaned, nothing else", async (root) => {
  const place = testPlace(root);
  addVersion(place, "lxc", "1.0.0");
  await activate(place, "lxc", "1.0.0");
  writeTree(`${root}/.new-lxc`, { "a/b": "1" });
  writeTree(`${root}/.gone-net`, { "a": "1" });
  writeTree(root, {
    "foreign": "1",
    "meta/.tmp-1-1-trust.json": "",
    "meta/.tmp-1-1-x": "",
  });
  const recovery = await recover(place);
  assertEquals([...recovery.cleaned].sort(), [".gone-net", ".new-lxc"]);
  assertEquals(recovery.finished, []);
  const names = [...Deno.readDirSync(root)].map((e) => e.name).sort();
  assertEquals(names, ["@plugin-lxc", "@plugin-snapshots", "foreign", "meta"]);
  assertEquals([...Deno.readDirSync(`${root}/meta`)].map((e) => e.name).sort(), [
    ".tmp-1-1-x",
    "op-dbus.lock",
    "plugins",
  ]);
});
