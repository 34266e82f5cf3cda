import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";

/** Every path below a folder, with its type and inode, sorted. */
async function picture(path: string): Promise<string> {
  return await sh("find", path, "-printf", "%P %y %i %m %s %T@\n");
}

platformTest(
  "init: subvolumes where they are wanted, none nested, again nothing changes",
  async () => {
    await using fs = await btrfsScratch();
    const root = `${fs.path}/root`;
    const first = await cli(["--root", root, "init", "--json"]);
    assertEquals(first.code, 0, first.stderr);
    assertEquals(JSON.parse(first.stdout).kind, "btrfs");
    const listed = await sh("btrfs", "subvolume", "list", fs.path);
    const paths = listed.trim().split("\n").map((line) => line.split(" path ")[1]!)
      .sort();
    for (const name of ["@cache", "@state", "@timing", "@vectors"]) {
      assertTrue(
        paths.includes(`root/${name}`),
        `${name} is not a subvolume:\n${listed}`,
      );
    }
    for (const path of paths) {
      assertTrue(
        /^root\/@[a-z-]+$/.test(path),
        `nested: ${path}`,
      );
    }
    const property = await sh(
      "btrfs",
      "property",
      "get",
      `${root}/@cache`,
      "compression",
    );
    assertEquals(property.trim(), "compression=zstd");
    const before = await picture(root);
    const second = await cli(["--root", root, "init"]);
    assertEquals(second.code, 0);
    assertIncludes(second.stdout, "nothing changed");
    assertEquals(await picture(root), before);
  },
);

platformTest("init: a folder with foreign files is refused and left alone", async () => {
  await using fs = await btrfsScratch();
  const root = `${fs.path}/mine`;
  await Deno.mkdir(root);
  await Deno.writeTextFile(`${root}/letter.txt`, "do not touch");
  const before = await picture(root);
  const { code, stderr } = await cli(["--root", root, "init"]);
  assertEquals(code, 2);
  assertEquals(stderr.trimEnd().split("\n").length, 1);
  assertIncludes(stderr, "letter.txt");
  assertEquals(await picture(root), before);
});

Deno.test("init: a folder that is not on btrfs is refused with the way out", async () => {
  const { code, stderr } = await cli(["--root", "/dev/shm/op-dbus-not-btrfs", "init"]);
  assertEquals(code, 1);
  assertIncludes(stderr, "op-dbus init --loopback");
  assertEquals(stderr.trimEnd().split("\n").length, 1);
});

platformTest("init --loopback makes, formats and mounts an image, once", async () => {
  await using folder = await tempFolder();
  const root = `${folder.path}/root`, image = `${folder.path}/disk`;
  const args = ["--root", root, "init", "--loopback", "256M", "--image", image, "--json"];
  try {
    const first = await cli(args);
    assertEquals(first.code, 0, first.stderr);
    const { loopback, kind } = JSON.parse(first.stdout);
    assertEquals([loopback.formatted, loopback.mounted, kind], [true, true, "btrfs"]);
    assertIncludes(await sh("findmnt", "-n", "-o", "FSTYPE,OPTIONS", root), "btrfs");
    const again = JSON.parse((await cli(args)).stdout);
    assertEquals([again.loopback.formatted, again.loopback.mounted], [false, false]);
    assertEquals(again.changed, false);
  } finally {
    await sh("umount", root);
  }
});

Deno.test("init --loopback: a missing mkfs.btrfs, a foreign image, a bad size", async () => {
  await using folder = await tempFolder();
  const image = `${folder.path}/photo.img`, root = `${folder.path}/root`;
  await Deno.writeTextFile(image, "a photo");
  const args = ["--root", root, "init", "--loopback"];
  const foreign = await cli([...args, "256M", "--image", image]);
  assertEquals(foreign.code === 1 || foreign.code === 2, true);
  assertEquals(await Deno.readTextFile(image), "a photo");
  assertEquals((await cli([...args, "many"])).code, 2);
  assertEquals((await cli(["--root", root, "init", "--image", image])).code, 2);
});

platformTest("commands need no tool: an empty PATH", async () => {
  await using fs = await btrfsScratch();
  const root = `${fs.path}/root`, env = { PATH: "" };
  const { cliCommand } = await import("../support/cli.ts");
  if (!cliCommand()[0]!.startsWith("/")) throw new Error("the program is not absolute");
  for (
    const args of [["init"], ["embed", "hello"], ["cache", "stats"], [
      "snapshot",
      "create",
    ]]
  ) {
    const { code, stderr } = await cli(["--root", root, ...args], { env });
    assertEquals(code, 0, `${args}: ${stderr}`);
  }
  const listed = await cli(["--root", root, "snapshot", "list", "--json"], { env });
  const [snapshot] = JSON.parse(listed.stdout).snapshots;
  const gone = await cli(
    ["--root", root, "snapshot", "delete", snapshot.name, "--yes"],
    { env },
  );
  assertEquals(gone.code, 0, gone.stderr);
  assertEquals((await cli(["--root", root, "doctor"], { env })).code, 0);
});
