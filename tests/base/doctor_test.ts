import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { machineFacts } from "../../lib/base/doctor.ts";
import { mountOf, mounts, parseMounts } from "../../lib/base/mounts.ts";
import { initRoot } from "../../lib/base/root.ts";

Deno.test("doctor: each fact has a name, a level, what was found, and what to do", async () => {
  await using scratch = await tempFolder();
  const facts = machineFacts({ root: `${scratch.path}/root` });
  assertEquals(facts.map(({ name }) => name), [
    "user",
    "kernel",
    "btrfs",
    "root",
    "mount",
    "space",
    "loop",
    "mkfs",
    "libnuma",
    "dbus",
  ]);
  for (const { name, level, found, hint } of facts) {
    assertTrue(found !== "" && !found.includes("\n"), name);
    assertEquals(hint === "", level === "ok", `${name}: ${found}: ${hint}`);
  }
  const by = Object.fromEntries(facts.map((fact) => [fact.name, fact]));
  assertIncludes(by.kernel!.found, (await sh("uname", "-r")).trim());
  assertIncludes(by.root!.hint, `op-dbus init --root ${scratch.path}/root`);
});

Deno.test("doctor finds the bus where the environment says", async () => {
  await using scratch = await tempFolder();
  const path = `${scratch.path}/bus`;
  const fact = () =>
    machineFacts({
      root: scratch.path,
      env: { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${path},guid=1` },
    }).find(({ name }) => name === "dbus")!;
  assertEquals(fact().level, "warn");
  using _listener = Deno.listen({ transport: "unix", path });
  assertEquals([fact().level, fact().found], ["ok", path]);
});

platformTest(
  "doctor on btrfs: mount options, a read-only mount is a failure",
  async () => {
    await using fs = await btrfsScratch(256, "compress=zstd");
    const root = `${fs.path}/root`;
    const fact = (name: string) =>
      machineFacts({ root }).find((one) => one.name === name)!;
    assertEquals(fact("mount").level, "ok");
    assertIncludes(fact("mount").found, "compress=zstd");
    initRoot({ root });
    assertEquals(fact("root").level, "ok");
    assertEquals(fact("space").level, "warn"); // 256 MiB
    await sh("mount", "-o", "remount,ro", fs.path);
    assertEquals(fact("mount").level, "fail");
  },
);

Deno.test("mountinfo: spaces in names, optional fields, the longest target wins", () => {
  const text = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" +
    "30 22 0:30 /sub /mnt/a\\040b\\303\\244 rw master:1 - btrfs /dev/loop0 rw,subvol=/sub\n" +
    "31 22 0:31 / /mnt rw - tmpfs tmpfs rw,size=64k\n";
  const all = parseMounts(text);
  assertEquals(all[1]!.target, "/mnt/a b\u00e4");
  assertEquals(all[1]!.options, ["rw", "subvol=/sub"]);
  assertEquals(mountOf("/mnt/a b\u00e4/x", all)!.type, "btrfs");
  assertEquals(mountOf("/mnt/ab", all)!.type, "tmpfs");
  assertEquals(mountOf("/mntx", all)!.type, "ext4");
  assertTrue(mounts().some(({ target }) => target === "/"));
});
