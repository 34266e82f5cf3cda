import { assertEquals, assertIncludes } from "../support/assert.ts";
import { versionProgram, writeRelease } from "../support/release.ts";
import { tempFolder } from "../support/scratch.ts";
import { cliEnvironment } from "../support/cli.ts";
import { publicKeyLine } from "../../lib/plugin/minisign/format.ts";
import { executable } from "./executable.ts";

Deno.test("the executable updates itself, through a link, and only when there is news", async () => {
  await using scratch = await tempFolder();
  const path = `${scratch.path}/op-dbus`, link = `${scratch.path}/link`;
  await Deno.copyFile(executable(), path);
  await Deno.symlink(path, link);
  const release = `${scratch.path}/release`;
  const key = await writeRelease(release, "99.0.0", versionProgram("99.0.0"));
  const run = async (...more: string[]) => {
    const flags = ["--from", release, "--key", publicKeyLine(key)];
    const { code, stdout, stderr } = await new Deno.Command(link, {
      args: ["self", "update", ...flags, ...more],
      clearEnv: true,
      env: cliEnvironment(),
    }).output();
    const text = new TextDecoder();
    return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
  };
  const check = await run("--check", "--json");
  assertEquals([check.code, check.stderr], [0, ""]);
  assertEquals(JSON.parse(check.stdout).update_available, true);
  const updated = await run();
  assertEquals([updated.code, updated.stderr], [0, ""]);
  assertIncludes(updated.stdout, "to 99.0.0");
  assertEquals(await Deno.readTextFile(path), versionProgram("99.0.0"));
  assertEquals((await Deno.lstat(link)).isSymlink, true);
  // The previous one still runs.
  const { stdout } = await new Deno.Command(`${path}.previous`, { args: ["version"] })
    .output();
  assertIncludes(new TextDecoder().decode(stdout), "op-dbus ");
});
