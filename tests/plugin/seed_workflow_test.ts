/** The workflow of the first design, with the commands and file names that it names. */
import { assertEquals, assertIncludes } from "../support/assert.ts";
import { btrfsRoot } from "../support/cli_root.ts";
import { platformTest, sh, tempFolder } from "../support/scratch.ts";
import { packPlugin } from "../../lib/plugin/pack.ts";
import { meantBy, parsePackageFileName } from "../../lib/plugin/names.ts";
import { packageNameOf } from "../../lib/plugin/package.ts";
import { serve } from "./kit.ts";
import { manifestText, writeTree } from "./live_kit.ts";
import { filesOf } from "./repo_kit.ts";

const MANIFEST = `name = "lxc"
version = "1.2.0"
author = "repr0bated"
`;
const MAPPING = `[methods]
create_container = {
    safe = false,
    requires_confirmation = true,
    dbus_method = "CreateContainer",
    args = ["id", "template", "config"]
}
`;
const FILE = "lxc-plugin-v1.2.0.btrfs.zst";

Deno.test("lxc-plugin-v1.2.0 is what it holds: lxc, or lxc-plugin", async () => {
  await using folder = await tempFolder();
  const named = parsePackageFileName(FILE)!;
  assertEquals(named, { name: "lxc-plugin", version: "1.2.0", from: null });
  assertEquals(meantBy(named, "lxc").name, "lxc");
  for (const other of ["net", "lxc-plugin-plugin", "lx"]) {
    assertEquals(meantBy(named, other).name, "lxc-plugin", other);
  }
  for (const name of ["lxc", "lxc-plugin"]) {
    const author = `${folder.path}/${name}`;
    writeTree(author, { "plugin.toml": manifestText(name, "1.2.0") });
    const { path } = await packPlugin(author, { output: folder.path });
    const to = `${folder.path}/${FILE}`;
    Deno.renameSync(path, to);
    assertEquals((await packageNameOf(to))!.name, name);
    Deno.renameSync(to, `${folder.path}/lxc-plugin-v9.9.9.btrfs.zst`);
    const other = await packageNameOf(`${folder.path}/lxc-plugin-v9.9.9.btrfs.zst`);
    assertEquals(other!.name, "lxc-plugin", "another version is no package of lxc");
  }
});

platformTest("the seed's workflow, by btrfs and zstd as by op-dbus", async () => {
  await using root = await btrfsRoot();
  const work = root.scratch.path, live = `${root.path}/@plugin-lxc`;
  const snapshots = `${root.path}/@plugin-snapshots`;
  const run = async (...args: string[]) => await root.run(args, { cwd: work });

  // Creator: a live subvolume, a read-only snapshot of it, btrfs send into zstd.
  await sh("btrfs", "subvolume", "create", live);
  writeTree(live, { "plugin.toml": MANIFEST, "semantic-mapping.toml": MAPPING });
  await sh("btrfs", "subvolume", "snapshot", "-r", live, `${snapshots}/lxc@v1.2.0`);
  const send = `btrfs send -q '${snapshots}/lxc@v1.2.0' | zstd -q >'${work}/${FILE}'`;
  await sh("sh", "-c", send);
  await root.json("key", "generate", `${work}/me`, "--no-password");
  const signed = await run("sign", FILE, "--key", "me.key", "--json");
  assertEquals(signed.code, 0, signed.stderr);
  assertIncludes(JSON.parse(signed.stdout).signed[0].trusted_comment, "\tname:lxc\t");
  for (const path of [live, `${snapshots}/lxc@v1.2.0`]) {
    await sh("btrfs", "subvolume", "delete", path);
  }

  // User: zstd into btrfs receive. The mv cannot be, `plugin activate` takes its place.
  await sh("sh", "-c", `zstd -dcq '${work}/${FILE}' | btrfs receive -q '${snapshots}'`);
  const move = new Deno.Command("mv", { args: [`${snapshots}/lxc@v1.2.0`, live] });
  const moved = await move.output();
  assertIncludes(new TextDecoder().decode(moved.stderr), "Read-only file system");
  const unverified = await run("plugin", "activate", "lxc@1.2.0", "--yes");
  assertEquals(unverified.code, 2, unverified.stderr);
  await root.json("plugin", "activate", "lxc@1.2.0", "--allow-unsigned", "--yes");
  assertEquals((await root.json("plugin", "show", "lxc")).active.signed_by, null);
  await root.json("plugin", "remove", "lxc", "--purge", "--yes");

  // User: op-dbus, from the file and from where wget would have it.
  await root.json("key", "trust", `${work}/me.pub`, "--yes");
  const install = ["plugin", "install", "--yes"];
  const fromFile = await run(...install, FILE);
  assertEquals(fromFile.code, 0, fromFile.stderr);
  assertEquals((await root.json("plugin", "show", "lxc")).active.version, "1.2.0");
  await root.json("plugin", "remove", "lxc", "--purge", "--yes");
  await using server = serve(filesOf(work));
  const url = await run(...install, "--allow-http", `${server.url}${FILE}`);
  assertEquals(url.code, 0, url.stderr);
  assertEquals((await run("plugin", "verify")).code, 0);

  // Repository: one name for a package there, and how to get it is said.
  writeTree(`${work}/repo`, { "repository.toml": 'name = "community"\n', "lxc/": "" });
  for (const end of ["", ".minisig"]) {
    Deno.renameSync(`${work}/${FILE}${end}`, `${work}/repo/lxc/${FILE}${end}`);
  }
  const index = ["repo", "index", "repo", "--key", "me.key"];
  const refused = await run(...index);
  assertEquals(refused.code, 2);
  const right = "lxc/lxc-v1.2.0.btrfs.zst";
  assertIncludes(refused.stderr, `rename it and its .minisig: ${right}`);
  for (const end of ["", ".minisig"]) {
    Deno.renameSync(`${work}/repo/lxc/${FILE}${end}`, `${work}/repo/${right}${end}`);
  }
  assertEquals((await run(...index)).code, 0);
});
