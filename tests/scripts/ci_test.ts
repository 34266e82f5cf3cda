/** What .ci/run makes of how scripts/ok ends: in a checkout whose scripts/ok is the test's. */
import { assertEquals, assertIncludes } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

const RUN = new URL("../../.ci/run", import.meta.url).pathname;

Deno.test(".ci/run passes only what has run in full and without a skipped test", async () => {
  await using scratch = await tempFolder();
  const folder = scratch.path, temporary = `${folder}/tmp`;
  for (const name of [".ci", "scripts", "tmp"]) await Deno.mkdir(`${folder}/${name}`);
  await Deno.copyFile(RUN, `${folder}/.ci/run`);
  const cases: [string, number][] = [
    ["echo '7 passed, 0 failed'", 0],
    ["echo '7 passed, 0 failed, 1 skipped'", 1],
    ["echo '6 passed, 1 failed'; exit 1", 1],
    ["echo '6 passed, 1 failed, 1 skipped'; exit 1", 1],
    ["echo '7 passed, 0 failed'; exit 3", 3],
    ["echo 'it ended early'", 1],
    ["exit 0", 1],
  ];
  for (const [script, status] of cases) {
    const ok = `#!/bin/sh\necho "given: $*"\n${script}\n`;
    await Deno.writeTextFile(`${folder}/scripts/ok`, ok, { mode: 0o755 });
    const { code, stdout } = await new Deno.Command(`${folder}/.ci/run`, {
      args: ["unit", "house"],
      env: { TMPDIR: temporary },
    }).output();
    assertEquals(code, status, script);
    assertIncludes(new TextDecoder().decode(stdout), "given: unit house\n");
    assertEquals([...Deno.readDirSync(temporary)], [], "something was left behind");
  }
});
