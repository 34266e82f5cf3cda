import { assertEquals, assertIncludes } from "../support/assert.ts";
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
