import { assertEquals } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { openFolderAt } from "../../lib/plugin/copy_tree.ts";
import { mergeUserFolders, usersPaths } from "../../lib/plugin/user_files.ts";
import { readTree, type Tree, writeTree } from "./live_kit.ts";

async function merge(
  old: Tree | null,
  mine: Tree,
  shipped: Tree,
  config: string[] = [],
): Promise<{ tree: Tree; kept: string[]; conflicts: string[]; abandoned: string[] }> {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  for (const [name, tree] of Object.entries({ old: old ?? {}, mine, shipped })) {
    Deno.mkdirSync(at(name));
    writeTree(at(name), tree);
  }
  const report = mergeUserFolders(
    old === null ? null : at("old"),
    at("mine"),
    at("shipped"),
    usersPaths(config),
    openFolderAt,
  );
  return {
    tree: readTree(at("shipped")),
    kept: [...report.kept],
    conflicts: report.conflicts.map(({ path, shipped }) => `${path} -> ${shipped}`),
    abandoned: [...report.abandoned],
  };
}

Deno.test("each of the cases of a three-way merge", async () => {
  const got = await merge(
    {
      "state/same": "1",
      "state/new-shipped": "1",
      "state/mine-changed": "1",
      "state/both-alike": "1",
      "state/both": "1",
      "state/mine-deleted": "1",
      "state/mine-deleted-new-changed": "1",
      "state/new-deleted": "1",
      "state/new-deleted-mine-changed": "1",
      "code": "1",
    },
    {
      "state/same": "1",
      "state/new-shipped": "1",
      "state/mine-changed": "mine",
      "state/both-alike": "2",
      "state/both": "mine",
      "state/new-deleted": "1",
      "state/new-deleted-mine-changed": "mine",
      "state/deep/er/only-mine": "mine",
      "state/empty/": "",
      "state/added-alike": "x",
      "state/added-by-both": "mine",
      "code": "1",
    },
    {
      "state/same": "1",
      "state/new-shipped": "2",
      "state/mine-changed": "1",
      "state/both-alike": "2",
      "state/both": "2",
      "state/mine-deleted": "1",
      "state/mine-deleted-new-changed": "2",
      "state/only-shipped": "2",
      "state/added-alike": "x",
      "state/added-by-both": "2",
      "code": "2",
    },
  );
  assertEquals(got.tree, {
    "code": "2",
    "state/added-alike": "x",
    "state/added-by-both": "mine",
    "state/added-by-both.new": "2",
    "state/both": "mine",
    "state/both-alike": "2",
    "state/both.new": "2",
    "state/deep/er/only-mine": "mine",
    "state/empty/": "",
    "state/mine-changed": "mine",
    "state/mine-deleted-new-changed.new": "2",
    "state/new-deleted-mine-changed": "mine",
    "state/new-shipped": "2",
    "state/only-shipped": "2",
    "state/same": "1",
  });
  assertEquals(got.conflicts, [
    "state/added-by-both -> state/added-by-both.new",
    "state/both -> state/both.new",
    "state/mine-deleted-new-changed -> state/mine-deleted-new-changed.new",
  ]);
  assertEquals(got.kept, [
    "state/deep/er/only-mine",
    "state/mine-changed",
    "state/new-deleted-mine-changed",
  ]);
  assertEquals(got.abandoned, []);
});

Deno.test("configuration is what the manifest lists; other changes are told as left", async () => {
  const got = await merge(
    { "a.toml": "1", "conf.d/x": "1", "code": "1" },
    {
      "a.toml": "mine",
      "conf.d/x": "1",
      "conf.d/y": "mine",
      "code": "mine",
      "added": "z",
    },
    { "a.toml": "1", "conf.d/x": "2", "code": "1" },
    ["a.toml", "conf.d/"],
  );
  assertEquals(got.tree, {
    "a.toml": "mine",
    "code": "1",
    "conf.d/x": "2",
    "conf.d/y": "mine",
  });
  assertEquals(got.abandoned, ["added", "code"]);
});

Deno.test("without the old version what differs is a conflict, and mine stays", async () => {
  const got = await merge(null, { "state/a": "mine", "state/b": "mine" }, {
    "state/a": "2",
    "state/c": "2",
  });
  assertEquals(got.tree, {
    "state/a": "mine",
    "state/a.new": "2",
    "state/b": "mine",
    "state/c": "2",
  });
});

Deno.test("a file where the other has a folder; a .new that is there already", async () => {
  const got = await merge(
    { "state/x": "1" },
    { "state/x/inner": "mine", "state/y": "mine", "state/y.new": "old" },
    { "state/x": "2", "state/y": "2" },
  );
  assertEquals(got.tree, {
    "state/x.new": "2",
    "state/x/inner": "mine",
    "state/y": "mine",
    "state/y.new": "old",
    "state/y.new.1": "2",
  });
  const other = await merge(
    { "state/x/a": "1", "state/x/b": "1" },
    { "state/x": "mine" },
    { "state/x/a": "1", "state/x/b": "2" },
  );
  assertEquals(other.tree["state/x"], "mine");
});

Deno.test("links, programs and attributes of mine come along", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  for (const name of ["old", "mine", "shipped"]) {
    Deno.mkdirSync(at(`${name}/state`), { recursive: true });
  }
  Deno.symlinkSync("target", at("mine/state/link"));
  Deno.writeTextFileSync(at("mine/state/run"), "#!", { mode: 0o755 });
  Deno.utimeSync(at("mine/state/run"), 1e9, 1e9);
  mergeUserFolders(at("old"), at("mine"), at("shipped"), usersPaths([]), openFolderAt);
  assertEquals(Deno.readLinkSync(at("shipped/state/link")), "target");
  const run = Deno.statSync(at("shipped/state/run"));
  assertEquals([run.mode! & 0o777, run.mtime!.getTime()], [0o755, 1e12]);
});
