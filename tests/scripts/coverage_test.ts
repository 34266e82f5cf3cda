import { assertEquals, assertIncludes } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { coverageText, parseCoverage, readCoverage } from "../../scripts/lib/coverage.ts";

const TABLE = `
| File                     | Branch % | Function % | Line % |
| ------------------------ | -------- | ---------- | ------ |
| lib/base/units.ts        |     72.4 |       88.9 |   77.0 |
| lib/stream/tree.ts       |    100.0 |       85.7 |   12.5 |
| All files                |     84.2 |       86.4 |   85.2 |
`;

Deno.test("coverage: the whole, and the files of which least ran", () => {
  assertEquals(
    coverageText(parseCoverage(TABLE)),
    "Coverage of lib/ and ffi/ by the tests over the sources: " +
      "85.2 % of lines, 84.2 % of branches. Least:\n" +
      "   12.5 %  lib/stream/tree.ts\n   77.0 %  lib/base/units.ts",
  );
  assertIncludes(coverageText([]), "nothing was measured");
});

Deno.test("coverage: Deno's own table of a real run is read", async () => {
  await using scratch = await tempFolder();
  const repo = new URL("../../", import.meta.url).pathname;
  await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "main.ts", "version"],
    cwd: repo,
    env: { DENO_COVERAGE_DIR: scratch.path },
    stdout: "null",
  }).output();
  // As a program leaves it that is killed while it writes.
  for (const text of ["", '{"result":[{"scr']) {
    await Deno.writeTextFile(`${scratch.path}/cut${text.length}.json`, text);
  }
  assertIncludes(await readCoverage(scratch.path, repo), /[\d.]+ % of lines/);
});
