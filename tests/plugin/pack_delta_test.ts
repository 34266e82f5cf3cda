/** Differences written in plain TypeScript, against the stock btrfs receive and our own. */
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError } from "../../lib/base/errors.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { DeltaVerifier } from "../../lib/plugin/delta_verify.ts";
import { packPlugin } from "../../lib/plugin/pack.ts";
import { signFile } from "../../lib/plugin/sign_file.ts";
import { livePlugin } from "../../lib/plugin/installed.ts";
import { verifyPlugin } from "../../lib/plugin/manage.ts";
import { generateSecretKey, publicOf, serve } from "./kit.ts";
import { manifestText, readTree, writeTree } from "./live_kit.ts";
import { filesOf, makeRepository, reindex, testHost } from "./repo_kit.ts";
import { buildIndex } from "../../lib/plugin/index_build.ts";

const BIG = crypto.getRandomValues(new Uint8Array(60_000)).toBase64();

/** Two versions of a folder between which about everything happens. */
function versions(folder: string): { one: string; two: string } {
  const one = `${folder}/one`, two = `${folder}/two`;
  writeTree(one, {
    "plugin.toml": manifestText("net", "1.0.0"),
    "same/big": BIG,
    "changed": "1",
    "shorter": "1".repeat(100_000),
    "gone/deep/er": "1",
    "gone-file": "1",
    "file-to-folder": "1",
    "folder-to-file/inner/x": "1",
    "mode": "1",
    "empty/": "",
  });
  Deno.symlinkSync("same/big", `${one}/link`);
  Deno.symlinkSync("changed", `${one}/link-to-file`);
  writeTree(two, {
    "plugin.toml": manifestText("net", "1.1.0"),
    "same/big": BIG,
    "changed": "22",
    "shorter": "1",
    "new/deep/er": "2",
    "file-to-folder/x": "2",
    "folder-to-file": "2",
    "mode": "1",
    "empty/now-full": "2",
    "link-to-file": "2",
    "unchanged-name-\u00fc": "2",
  });
  Deno.symlinkSync("changed", `${two}/link`);
  Deno.chmodSync(`${two}/mode`, 0o755);
  return { one, two };
}

async function setAttribute(path: string, name: string, value: string): Promise<void> {
  await sh("setfattr", "-n", `user.${name}`, "-v", value, path);
}

platformTest(
  "the stock btrfs receive makes of base and difference the new version",
  async () => {
    await using scratch = await btrfsScratch(256);
    const { one, two } = versions(scratch.path);
    await setAttribute(`${one}/changed`, "goes", "1");
    await setAttribute(`${one}/mode`, "changes", "1");
    await setAttribute(`${two}/mode`, "changes", "2");
    await setAttribute(`${two}/shorter`, "comes", "2");
    const output = scratch.path;
    const base = await packPlugin(one, { output });
    const full = await packPlugin(two, { output });
    const delta = await packPlugin(two, { output, deltaFrom: "1.0.0" });
    assertEquals(delta.path, `${output}/net-v1.1.0_from_v1.0.0.btrfs.zst`);
    assertEquals(delta.tree, full.tree);
    assertTrue(
      delta.sizeBytes * 20 < full.sizeBytes,
      `${delta.sizeBytes} ${full.sizeBytes}`,
    );
    const again = await packPlugin(two, { output, deltaFrom: "1.0.0", force: true });
    assertEquals(again.sha256, delta.sha256, "the same bytes every time");
    for (const { path } of [base, delta]) {
      await sh("sh", "-c", `zstd -dc ${path} | btrfs receive -q ${scratch.path}`);
    }
    const received = `${scratch.path}/net@v1.1.0`;
    assertEquals(readTree(received), readTree(two));
    assertEquals(digestOfFolder(received), full.tree);
    using verifier = new DeltaVerifier();
    await verifier.verify(delta.path, base.path, full.tree);
  },
);

Deno.test("a difference needs its base's package, of another version", async () => {
  await using scratch = await tempFolder();
  const { two } = versions(scratch.path);
  const output = scratch.path;
  for (const deltaFrom of ["1.0.0", "1.1.0", "../x"]) {
    await assertRejects(
      () => packPlugin(two, { output, deltaFrom }),
      InputError,
      /No pack/,
    );
  }
});

for (const kind of ["btrfs", "folder"] as const) {
  const test = kind === "btrfs" ? platformTest : Deno.test;
  test(`a packed difference is published and taken by an upgrade (${kind})`, async () => {
    await using scratch = kind === "btrfs" ? await btrfsScratch(256) : await tempFolder();
    const { one, two } = versions(scratch.path);
    const key = generateSecretKey(), repo = `${scratch.path}/repo`;
    await makeRepository(repo, [], key);
    Deno.mkdirSync(`${repo}/net`);
    const output = `${repo}/net`;
    signFile((await packPlugin(one, { output })).path, key);
    await reindex({ folder: repo, key });
    Deno.mkdirSync(`${scratch.path}/root`);
    await using server = serve(filesOf(repo));
    const host = testHost(`${scratch.path}/root`, server.url, [key]);
    await host.install(["net"]);
    const full = await packPlugin(two, { output });
    signFile(full.path, key);
    signFile((await packPlugin(two, { output, deltaFrom: "1.0.0" })).path, key);
    await buildIndex(repo, { packageKeys: [publicOf(key)], signers: [key] });
    for (const [path, bytes] of filesOf(repo)) server.files.set(path, bytes);
    await host.update();
    server.log.length = 0;
    await host.upgrade([]);
    assertEquals(
      server.log.includes("net/net-v1.1.0.btrfs.zst"),
      false,
      "the difference",
    );
    assertEquals(livePlugin(host.place.layout, "net")!.marker!.tree, full.tree);
    assertEquals(verifyPlugin(host.place.layout, "net").ok, true);
  });
}

Deno.test("a difference by itself, on a base that somebody changed, is refused", async () => {
  await using scratch = await tempFolder();
  const { one, two } = versions(scratch.path);
  const key = generateSecretKey(), output = `${scratch.path}/repo/net`;
  await makeRepository(`${scratch.path}/repo`, [], key);
  Deno.mkdirSync(output);
  const base = await packPlugin(one, { output });
  const delta = await packPlugin(two, { output, deltaFrom: "1.0.0" });
  for (const { path } of [base, delta]) signFile(path, key);
  Deno.mkdirSync(`${scratch.path}/root`);
  const full = await packPlugin(two, { output });
  signFile(full.path, key);
  await reindex({ folder: `${scratch.path}/repo`, key });
  const host = testHost(`${scratch.path}/root`, `${scratch.path}/repo`, [key]);
  await host.install([base.path]);
  const stored = `${host.place.layout.pluginSnapshots}/net@v1.0.0/changed`;
  Deno.writeTextFileSync(stored, "evil");
  // Its own signature covers what is different, and not the rest.
  const error = await assertRejects(() => host.install([delta.path]), DifferenceError);
  assertEquals(error.code, "tampered");
  assertEquals(livePlugin(host.place.layout, "net")!.manifest.version, "1.0.0");
  Deno.writeTextFileSync(stored, "1");
  await host.install([delta.path]);
  assertEquals(livePlugin(host.place.layout, "net")!.marker!.tree, delta.tree);
});
