import { assertEquals } from "../support/assert.ts";
import { btrfsRoot, type TestRoot } from "../support/cli_root.ts";
import { platformTest } from "../support/scratch.ts";
import { manifestText, writeTree } from "../plugin/live_kit.ts";

const MAPPING = '[service]\nname = "org.freedesktop.lxc"\n';

/** A signed package of `lxc`, made by commands. */
async function packageOf(root: TestRoot, at: string, version: string): Promise<string> {
  const folder = `${at}/lxc-${version}`;
  writeTree(folder, {
    "plugin.toml": manifestText("lxc", version),
    "semantic-mapping.toml": MAPPING,
    "state/c.json": "[]",
  });
  const { path } = await root.json("plugin", "pack", folder, "--output", at);
  await root.json("sign", path, "--key", `${at}/me.key`);
  return path;
}

platformTest(
  "each change by a command becomes a block that says what it was",
  async () => {
    await using root = await btrfsRoot();
    const at = `${root.scratch.path}/work`;
    await Deno.mkdir(at);
    const { id } = await root.json("key", "generate", `${at}/me`, "--no-password");
    const [one, two] = [
      await packageOf(root, at, "1.0.0"),
      await packageOf(root, at, "1.2.0"),
    ];
    await root.json("key", "trust", `${at}/me.pub`, "--yes");
    await root.json("plugin", "install", one, "--yes");
    await root.json("plugin", "install", two, "--yes");
    await root.json("plugin", "activate", "lxc@1.0.0", "--yes");
    await root.json("plugin", "rollback", "lxc", "--yes");
    await root.json("plugin", "remove", "lxc", "--yes");
    const { name } = await root.json("snapshot", "create", "--target", "state");
    const { saved } = await root.json("snapshot", "restore", name, "--yes");
    await root.json("snapshot", "prune", "state", "--policy", "keep_last=1", "--yes");
    await root.json("snapshot", "delete", saved, "--yes");
    await root.json("key", "revoke", id, "--reason", "over");
    await root.json("chain", "compact", "--keep", "1", "--yes");
    const { blocks } = await root.json("chain", "list");
    type Listed = { category: string; action: string; what: string };
    const told = blocks.map((b: Listed) => `${b.category} ${b.action} ${b.what}`);
    assertEquals(told.slice(1), [
      `trust trust ${id}`,
      "plugin install lxc@1.0.0",
      "plugin upgrade lxc@1.2.0",
      "plugin activate lxc@1.0.0",
      "plugin rollback lxc@1.2.0",
      "plugin remove lxc@1.2.0",
      `snapshot restore ${name}`,
      `snapshot prune ${name}`,
      `snapshot delete ${saved}`,
      `trust revoke ${id}`,
      "chain compact 0..9",
    ]);
    assertEquals((await root.json("chain", "verify", "--full")).ok, true);
  },
);
