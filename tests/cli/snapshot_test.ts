import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsRoot, plainRoot } from "../support/cli_root.ts";
import { platformTest, sh } from "../support/scratch.ts";

platformTest(
  "snapshot: create, list, delete; named in UTC, read-only, opens clean",
  async () => {
    await using root = await btrfsRoot();
    await root.json("embed", "kept in the snapshot");
    const { name, path } = await root.json("snapshot", "create");
    assertTrue(/^cache@\d{4}-\d\d-\d\d-\d\d:\d\d(:\d\d)?$/.test(name), name);
    assertEquals(path, `${root.path}/@cache-snapshots/${name}`);
    assertIncludes(await sh("btrfs", "property", "get", "-ts", path, "ro"), "ro=true");
    assertEquals(
      (await sh(
        "sqlite3",
        `file:${path}/embeddings/index.db?immutable=1`,
        "PRAGMA integrity_check; SELECT count(*) FROM entries;",
      )).trim(),
      "ok\n1",
    );
    const second = await root.json("snapshot", "create");
    assertTrue(second.name !== name, "the same name twice");
    const { snapshots } = await root.json("snapshot", "list");
    assertEquals(snapshots.map((s: { name: string }) => s.name), [name, second.name]);
    const asked = await root.run(["snapshot", "delete", name]);
    assertEquals(asked.code, 4);
    await root.json("snapshot", "delete", name, "--yes", "--dry-run");
    assertEquals((await root.json("snapshot", "list")).snapshots.length, 2);
    await root.json("snapshot", "delete", name, "--yes");
    assertEquals((await root.json("snapshot", "list")).snapshots.length, 1);
  },
);

platformTest(
  "snapshot: an unknown name and an unknown target, exit 2, the nearest named",
  async () => {
    await using root = await btrfsRoot();
    await root.json("snapshot", "create");
    const { code, stderr } = await root.run([
      "snapshot",
      "delete",
      "cache@2020",
      "--yes",
    ]);
    assertEquals(code, 2, stderr);
    const target = await root.run(["snapshot", "list", "--target", "cahe"]);
    assertEquals(target.code, 2);
    assertIncludes(target.stderr, "did you mean cache");
  },
);

Deno.test("snapshot: on a plain folder one line says what is missing and the way out", async () => {
  await using root = await plainRoot();
  const { code, stderr } = await root.run(["snapshot", "create"]);
  assertEquals(code, 1);
  assertEquals(stderr.trimEnd().split("\n").length, 1);
  assertIncludes(stderr, "btrfs");
  assertIncludes(stderr, "init --loopback");
});
