import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { initRoot, requireRoot, rootKind } from "../../lib/base/root.ts";
import { mountLoopback } from "../../lib/base/root_loopback.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { createSubvolume, isSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { nestedSubvolumes } from "../../ffi/btrfs_list.ts";
import { withFd } from "../../ffi/files.ts";

/** Every path below a folder with its size and time: to see that nothing was touched. */
async function picture(path: string): Promise<string> {
  return await sh("find", path, "-printf", "%P %y %s %m %T@\n");
}

platformTest(
  "init on btrfs: the layout, subvolumes where wanted, none nested",
  async () => {
    await using fs = await btrfsScratch();
    const root = `${fs.path}/a/root`;
    const first = initRoot({ root });
    assertEquals([first.kind, first.changed, first.notes], ["btrfs", true, []]);
    for (const area of ["@cache", "@timing", "@vectors", "@state"]) {
      withFd(openFolder(`${root}/${area}`), (fd) => {
        assertTrue(isSubvolume(fd), area);
        assertEquals(nestedSubvolumes(fd), [], area);
      });
    }
    for (
      const folder of [
        "@cache/embeddings/vectors",
        "@cache/queries",
        "@cache/blocks/by-number",
        "@cache/blocks/by-hash",
        "@cache/diffs",
        "@timing/blocks",
        "@cache-snapshots",
        "@plugin-snapshots",
        "meta",
        "models",
      ]
    ) assertTrue((await Deno.stat(`${root}/${folder}`)).isDirectory, folder);
    const property = await sh(
      "btrfs",
      "property",
      "get",
      `${root}/@cache`,
      "compression",
    );
    assertEquals(property.trim(), "compression=zstd");
    assertEquals(requireRoot(root), "btrfs");
  },
);

platformTest("init again changes nothing; an interrupted one is finished", async () => {
  await using fs = await btrfsScratch();
  const root = `${fs.path}/root`;
  initRoot({ root });
  const before = await picture(root);
  const again = initRoot({ root });
  assertEquals([again.changed, again.created], [false, []]);
  assertEquals(await picture(root), before);
  await sh("btrfs", "subvolume", "delete", `${root}/@state`);
  await Deno.remove(`${root}/@cache/embeddings`, { recursive: true });
  await Deno.remove(`${root}/meta/root.json`);
  const mended = initRoot({ root });
  assertEquals(mended.created, [
    "@cache/embeddings",
    "@cache/embeddings/vectors",
    "@state",
    "meta/root.json",
  ]);
});

platformTest("init twice at once: both end well, one layout", async () => {
  await using fs = await btrfsScratch();
  const root = `${fs.path}/root`;
  const script = `${new URL("../../lib/base/root.ts", import.meta.url)}`;
  const code = `import { initRoot } from "${script}"; initRoot({ root: "${root}" });`;
  const runs = await Promise.all(
    [1, 2, 3].map(() =>
      new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", code] }).output()
    ),
  );
  for (const run of runs) {
    assertEquals(new TextDecoder().decode(run.stderr), "");
  }
  assertEquals(initRoot({ root }).changed, false);
});

platformTest(
  "init refuses foreign files, a folder for an area, a link; deletes nothing",
  async () => {
    await using fs = await btrfsScratch();
    const root = `${fs.path}/root`;
    await Deno.mkdir(`${root}/photos`, { recursive: true });
    for (const name of ["b.txt", "c.txt", "d.txt"]) {
      await Deno.writeTextFile(`${root}/${name}`, name);
    }
    const before = await picture(root);
    const foreign = assertThrows(() => initRoot({ root }), InputError);
    assertEquals(
      foreign.message,
      `Cannot initialise ${root}: it holds files that are not op-dbus's: ` +
        "b.txt, c.txt, d.txt and 1 more",
    );
    assertIncludes(foreign.hint!, "--root");
    assertEquals(await picture(root), before);

    const second = `${fs.path}/second`;
    await Deno.mkdir(`${second}/@cache`, { recursive: true });
    const folder = assertThrows(() => initRoot({ root: second }), OpError);
    assertEquals(folder.code, "not_a_subvolume");

    const third = `${fs.path}/third`;
    await Deno.mkdir(third);
    await Deno.symlink("/etc", `${third}/@cache`);
    assertThrows(() => initRoot({ root: third }), OpError, /ELOOP|ENOTDIR/);
    const fourth = `${fs.path}/fourth`;
    await Deno.writeTextFile(fourth, "a file");
    assertThrows(() => initRoot({ root: fourth }), OpError, /ENOTDIR/);
  },
);

Deno.test("init off btrfs: refused with the way out, and as plain folders when asked", async () => {
  await using scratch = await tempFolder();
  const root = `${scratch.path}/root`;
  const refused = assertThrows(() => initRoot({ root }), OpError);
  assertEquals(refused.code, "not_btrfs");
  assertIncludes(
    refused.message,
    /^Cannot initialise .*\/root: it is on \S.*, not btrfs$/,
  );
  assertIncludes(refused.hint!, "init --loopback 2G");
  assertEquals([...Deno.readDirSync(scratch.path)], []);
  const plain = initRoot({ root, plain: true });
  assertEquals([plain.kind, plain.changed], ["plain", true]);
  assertTrue((await Deno.stat(`${root}/@cache/embeddings/vectors`)).isDirectory);
  assertEquals(initRoot({ root }).changed, false);
  assertEquals(rootKind(root), "plain");
});

Deno.test("a root of a newer format, or with a damaged marker, is refused", async () => {
  await using scratch = await tempFolder();
  const root = `${scratch.path}/root`;
  assertEquals(rootKind(root), null);
  assertEquals(assertThrows(() => requireRoot(root), OpError).code, "no_root");
  initRoot({ root, plain: true });
  const marker = `${root}/meta/root.json`;
  await Deno.writeTextFile(marker, '{"format": 2, "kind": "plain"}');
  assertEquals(assertThrows(() => initRoot({ root }), OpError).code, "newer_root");
  for (const bad of ["", "{", "null", '{"format": 1, "kind": "x"}', "[]"]) {
    await Deno.writeTextFile(marker, bad);
    assertEquals(assertThrows(() => requireRoot(root), OpError).code, "damaged_root");
  }
});

platformTest(
  "init without permission or on a read-only mount: one line, nothing made",
  async () => {
    await using fs = await btrfsScratch();
    await sh("mount", "-o", "remount,ro", fs.path);
    const root = `${fs.path}/root`;
    const refused = assertThrows(() => initRoot({ root }), OpError);
    assertEquals(refused.code, "read_only");
  },
);

platformTest(
  "init --loopback: makes, mounts, mounts again after a reboot, refuses",
  async () => {
    await using scratch = await tempFolder();
    const root = `${scratch.path}/root`, image = `${scratch.path}/disk.img`;
    try {
      const made = await mountLoopback({ root, image, sizeBytes: 128 * 2 ** 20 });
      assertEquals([made.formatted, made.mounted], [true, true]);
      assertIncludes(made.fstab, `${image} ${root} btrfs loop,`);
      assertEquals(initRoot({ root }).kind, "btrfs");
      await Deno.writeTextFile(`${root}/@state/note`, "kept");
      const again = await mountLoopback({ root, image, sizeBytes: 128 * 2 ** 20 });
      assertEquals([again.formatted, again.mounted], [false, false]);
      await sh("umount", root);
      const rebooted = await mountLoopback({ root, image, sizeBytes: 128 * 2 ** 20 });
      assertEquals([rebooted.formatted, rebooted.mounted], [false, true]);
      assertEquals(await Deno.readTextFile(`${root}/@state/note`), "kept");
    } finally {
      await sh("umount", root);
    }
    const loops = await sh("losetup", "-a");
    assertTrue(!loops.includes(scratch.path), loops);
    assertEquals([...Deno.readDirSync(root)], []);

    const other = `${scratch.path}/other`;
    await Deno.writeTextFile(other, "somebody's file");
    const options = { root, image: other, sizeBytes: 2 ** 30 };
    const foreign = await assertRejects(() => mountLoopback(options), InputError);
    assertEquals(foreign.code, "foreign_image");
    assertEquals(await Deno.readTextFile(other), "somebody's file");

    await Deno.writeTextFile(`${root}/file`, "");
    const hiding = await assertRejects(
      () => mountLoopback({ root, image, sizeBytes: 2 ** 30 }),
      InputError,
    );
    assertEquals(hiding.code, "foreign_root");
    await Deno.remove(`${root}/file`);
    for (
      const [sizeBytes, code] of [[2 ** 20, "image_too_small"], [2 ** 50, "no_space"]]
    ) {
      const small = { root, image: `${image}2`, sizeBytes: sizeBytes as number };
      const error = await assertRejects(() => mountLoopback(small), OpError);
      assertEquals(error.code, code as string);
    }
    const left = [...Deno.readDirSync(scratch.path)].map(({ name }) => name).sort();
    assertEquals(left, ["disk.img", "other", "root"]);
  },
);

platformTest("a root that is a subvolume is taken as it is", async () => {
  await using fs = await btrfsScratch();
  withFd(openFolder(fs.path), (fd) => createSubvolume(fd, "root"));
  assertEquals(initRoot({ root: `${fs.path}/root` }).kind, "btrfs");
});
