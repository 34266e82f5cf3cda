import { assertEquals, assertIncludes } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { tempFolder } from "../support/scratch.ts";
import { livePlugin } from "../../lib/plugin/installed.ts";
import { addVersion, testPlace } from "./live_kit.ts";

const NEEDS = 'requires = { commands = ["pct-helper"] }\n';

Deno.test("activate and rollback refuse a version that lacks something on this host", async () => {
  await using scratch = await tempFolder();
  const root = `${scratch.path}/root`, bin = `${scratch.path}/bin`;
  await Deno.mkdir(bin);
  const env = { OPDBUS_ROOT: root, PATH: bin };
  const run = (...args: string[]) => cli(args, { env });
  assertEquals((await run("init", "--plain")).code, 0);
  const place = testPlace(root);
  addVersion(place, "lxc", "1.0.0", {}, NEEDS);
  addVersion(place, "lxc", "2.0.0");
  const live = () => livePlugin(place.layout, "lxc")?.manifest.version ?? null;
  const refused = async (...args: string[]) => {
    for (const how of ["--dry-run", "--yes"]) {
      const { code, stderr } = await run("plugin", ...args, how);
      assertEquals(code, 1);
      const why = "This host lacks something: lxc@1.0.0 needs command pct-helper";
      assertIncludes(stderr, why);
      assertIncludes(stderr, "--ignore-requirements");
    }
  };
  const done = async (...args: string[]) => {
    const { code, stderr } = await run("plugin", ...args, "--yes");
    assertEquals(code, 0, stderr);
  };

  await refused("activate", "lxc@1.0.0");
  assertEquals(live(), null);
  await done("activate", "lxc@1.0.0", "--ignore-requirements");
  await done("activate", "lxc@2.0.0");

  // The host may have lost it since that version was live, and may get it back.
  await refused("rollback", "lxc");
  assertEquals(live(), "2.0.0");
  await Deno.writeTextFile(`${bin}/pct-helper`, "#!/bin/sh\n", { mode: 0o755 });
  await done("rollback", "lxc");
  assertEquals(live(), "1.0.0");
  await done("rollback", "lxc");
  await Deno.remove(`${bin}/pct-helper`);
  await done("rollback", "lxc", "--ignore-requirements");
  assertEquals(live(), "1.0.0");
});

Deno.test("what the host may have or not is told once, and stops no activation", async () => {
  await using scratch = await tempFolder();
  const root = `${scratch.path}/root`;
  const env = {
    OPDBUS_ROOT: root,
    DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${scratch.path}/none`,
  };
  assertEquals((await cli(["init", "--plain"], { env })).code, 0);
  const more = 'requires = { dbus = ["org.a.Far"] }\n';
  addVersion(testPlace(root), "far", "1.0.0", {}, more);
  const { code, stderr } = await cli(["plugin", "activate", "far@1.0.0", "--yes"], {
    env,
  });
  assertEquals(code, 0, stderr);
  const told = stderr.split("\n").filter((line) => line.includes("org.a.Far"));
  assertEquals(told.length, 1, stderr);
  assertIncludes(told[0]!, "needs something that may not be here");
});
