import { assertEquals, assertIncludes } from "../support/assert.ts";
import { sh } from "../support/scratch.ts";
import { VERSION } from "../../lib/base/version.ts";
import { rootTest } from "./bare_root.ts";
import { executable } from "./executable.ts";

for (const shell of ["debian", "busybox"] as const) {
  const name = `the executable in an empty root, libc and ${shell}, no environment`;
  rootTest(name, shell, async (root) => {
    await Deno.copyFile(executable(), `${root.path}/op-dbus`);
    for (const uid of [0, 54321]) {
      for (const when of ["first", "second"]) {
        const { code, stdout, stderr } = await root.run(["/op-dbus", "version"], { uid });
        assertEquals(stderr, "", `${when} run as ${uid}`);
        assertEquals(code, 0);
        assertIncludes(stdout, `op-dbus ${VERSION}`);
      }
    }
  });
}

rootTest(
  "the executable: under root's umask 0 nothing unpacked is for others to write",
  "debian",
  async (root) => {
    await Deno.copyFile(executable(), `${root.path}/op-dbus`);
    const line = "umask 0 && /op-dbus version && /op-dbus --help";
    const { code, stderr } = await root.run(["/bin/sh", "-c", line]);
    assertEquals([code, stderr], [0, ""]);
    const open = ["-perm", "/022", "-not", "-type", "l"];
    assertEquals(await sh("find", `${root.path}/var/cache/op-dbus`, ...open), "");
  },
);
