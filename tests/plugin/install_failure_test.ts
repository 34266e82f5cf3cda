/** Installs that fail on the way: the plugin is the old one, whole, and nothing is left. */
import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { OpError } from "../../lib/base/errors.ts";
import { livePlugin } from "../../lib/plugin/installed.ts";
import { storedVersions } from "../../lib/plugin/version_store.ts";
import type { SecretKey } from "./kit.ts";
import { readTree } from "./live_kit.ts";
import { changesText, makeRepository, testHost } from "./repo_kit.ts";

const NET1 = { name: "net", version: "1.0.0" };
const NET2 = { name: "net", version: "2.0.0" };

async function failBeforeDeciding(folder: string): Promise<void> {
  const { key, folder: repository } = await makeRepository(`${folder}/repo`, [
    NET1,
    NET2,
  ]);
  Deno.mkdirSync(`${folder}/root`);
  const host = testHost(`${folder}/root`, repository, [key]), { layout } = host.place;
  await host.install(["net@1.0.0"]);
  Deno.mkdirSync(`${folder}/root/@plugin-net/state`);
  await sh("mkfifo", `${folder}/root/@plugin-net/state/pipe`);
  const error = await assertRejects(() => host.install(["net"]), OpError);
  assertEquals(error.code, "not_copyable");
  assertEquals(livePlugin(layout, "net")!.manifest.version, "1.0.0");
  assertEquals(storedVersions(layout).map((v) => v.version), ["1.0.0"]);
  assertEquals([...Deno.readDirSync(`${folder}/root`)].map((e) => e.name).sort(), [
    "@plugin-net",
    "@plugin-snapshots",
    "meta",
  ]);
}

Deno.test("one version is one content: another one under its name is refused", async () => {
  await using folder = await tempFolder();
  const repo = (code: string, key?: SecretKey) =>
    makeRepository(`${folder.path}/${code}`, [{ ...NET1, tree: { code } }], key);
  const { key, folder: repository } = await repo("first");
  await repo("other", key);
  Deno.mkdirSync(`${folder.path}/root`);
  const host = testHost(`${folder.path}/root`, repository, [key]),
    { layout } = host.place;
  await host.install(["net"]);
  const before = storedVersions(layout);
  const other = `${folder.path}/other/net/net-v1.0.0.btrfs.zst`; // as rightly signed
  const error = await assertRejects(() => host.install([other]), OpError);
  assertEquals(error.code, "version_differs");
  assertEquals(storedVersions(layout), before);
  const code = Deno.readTextFileSync(`${layout.pluginSnapshots}/net@v1.0.0/code`);
  assertEquals([before.length, code], [1, "first"]);
  assertEquals(readTree(layout.plugin("net")).code, readTree(before[0]!.path).code);
});

platformTest("a failure between receiving and deciding (btrfs)", async () => {
  await using scratch = await btrfsScratch(256);
  await failBeforeDeciding(scratch.path);
});

Deno.test("a failure between receiving and deciding (folder)", async () => {
  await using scratch = await tempFolder();
  await failBeforeDeciding(scratch.path);
});
platformTest(
  "a full disk: the plugin is the old one, whole, and nothing is left",
  async () => {
    await using scratch = await btrfsScratch(128, "", ["--mixed"]);
    await using outside = await tempFolder();
    const big = crypto.getRandomValues(new Uint8Array(60_000)).toBase64().repeat(8);
    const { key, folder: repository } = await makeRepository(outside.path + "/repo", [
      NET1,
      { ...NET2, tree: { big, "state/x": big } },
    ]);
    const host = testHost(scratch.path, repository, [key]);
    await host.install(["net@1.0.0"]);
    const before = readTree(host.place.layout.plugin("net"));
    await fill(scratch.path);
    await assertRejects(() => host.install(["net@2.0.0"]), Error, /ENOSPC/);
    assertEquals(readTree(host.place.layout.plugin("net")), before);
    assertEquals(storedVersions(host.place.layout).map((v) => v.version), ["1.0.0"]);
    Deno.removeSync(`${scratch.path}/filler`);
    await sh("btrfs", "filesystem", "sync", scratch.path);
    assertEquals(
      changesText(await host.install(["net@2.0.0"])),
      "upgrade net 1.0.0 -> 2.0.0",
    );
    assertEquals(livePlugin(host.place.layout, "net")!.manifest.version, "2.0.0");
  },
);

async function fill(folder: string): Promise<void> {
  const file = await Deno.open(`${folder}/filler`, { create: true, write: true });
  const piece = crypto.getRandomValues(new Uint8Array(65536));
  try {
    for (;;) await file.write(piece);
  } catch (error) {
    assertIncludes(String(error), "No space");
  } finally {
    file.close();
  }
}
