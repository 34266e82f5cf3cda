import { assertEquals, assertIncludes } from "../support/assert.ts";
import { btrfsRoot } from "../support/cli_root.ts";
import { platformTest } from "../support/scratch.ts";

platformTest("single entries are read out of a snapshot of the cache", async () => {
  await using root = await btrfsRoot();
  await root.json("embed", "kept");
  const live = await root.json("cache", "get", "kept");
  const { name } = await root.json("snapshot", "create");
  await root.json("cache", "clear", "--all", "--yes");
  await root.json("embed", "later");
  assertEquals((await root.run(["cache", "get", "kept"])).code, 1);
  assertEquals(await root.json("cache", "get", "kept", "--snapshot", name), live);
  const later = await root.run(["cache", "get", "later", "--snapshot", name]);
  assertEquals(later.code, 1);
  const unknown = await root.run(["cache", "get", "kept", "--snapshot", "cache@x"]);
  assertEquals(unknown.code, 2);
  assertIncludes(unknown.stderr, "Cannot find cache@x");
});
