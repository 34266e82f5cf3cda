import { assertEquals, assertIncludes } from "../support/assert.ts";
import { effectiveUid } from "../../ffi/files.ts";
import { VERSION } from "../../lib/base/version.ts";
import { bareRoot } from "./bare_root.ts";
import { executable } from "./executable.ts";

const ignore = effectiveUid() !== 0;

for (const shell of ["debian", "busybox"] as const) {
  Deno.test({
    name:
      `the executable runs in an empty root with libc and ${shell}, environment empty`,
    ignore,
    async fn() {
      await using root = await bareRoot(shell);
      await Deno.copyFile(executable(), `${root.path}/op-dbus`);
      for (const uid of [0, 54321]) {
        for (const when of ["first", "second"]) {
          const { code, stdout, stderr } = await root.run(["/op-dbus", "version"], {
            uid,
          });
          assertEquals(stderr, "", `${when} run as ${uid}`);
          assertEquals(code, 0);
          assertIncludes(stdout, `op-dbus ${VERSION}`);
        }
      }
    },
  });
}
