/** op-dbus version */
import { COMMIT, VERSION } from "../base/version.ts";
import { command } from "./command.ts";

/** `op-dbus version`: imports nothing else, because start-up is measured by it. */
export const version = command({
  brief: "Print the version, the commit and the platform",
  examples: ["op-dbus version", "op-dbus version --json"],
  standalone: true,
  flags: {},
  run({ out }) {
    const commit = COMMIT.startsWith("@") ? null : COMMIT;
    const { deno } = Deno.version;
    const { arch } = Deno.build;
    out.result(
      { version: VERSION, commit, deno, arch },
      () =>
        `op-dbus ${VERSION}${commit ? ` (${commit})` : ""} linux-${arch}, Deno ${deno}`,
    );
  },
});
