import { assertEquals, assertThrows } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { add, emptyCounts, parseJUnit, summaryLine } from "../../scripts/lib/junit.ts";

const SAMPLE = `
Deno.test("passes > with <signs> & \\"quotes\\"", () => {});
Deno.test("fails", () => { throw new Error("]]> </testcase> <skipped/>"); });
Deno.test({ name: "is skipped", ignore: true, fn() {} });
Deno.test("prints what looks like a report", () => {
  console.log('<testcase name="no"><failure/></testcase>');
});
`;

Deno.test("the counts are those of deno test's own report", async () => {
  await using scratch = await tempFolder();
  const file = `${scratch.path}/sample_test.ts`, report = `${scratch.path}/junit.xml`;
  await Deno.writeTextFile(file, SAMPLE);
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-config", "--no-lock", `--junit-path=${report}`, file],
    stdout: "null",
    stderr: "null",
  }).output();
  assertEquals(code, 1);
  const counts = parseJUnit(await Deno.readTextFile(report));
  assertEquals(counts.passed, 2);
  assertEquals(counts.failed.map((name) => name.split(": ")[1]), ["fails"]);
  assertEquals(counts.skipped.map((name) => name.split(": ")[1]), ["is skipped"]);
});

Deno.test("skipped tests are told only when there are some", () => {
  const counts = emptyCounts();
  assertEquals(summaryLine(counts), "0 passed, 0 failed");
  add(counts, { passed: 3, failed: ["a"], skipped: ["b", "c"] });
  assertEquals(summaryLine(counts), "3 passed, 1 failed, 2 skipped");
});

Deno.test("what is no report is refused", () => {
  assertThrows(() => parseJUnit("ok | 3 passed"), Error, /JUnit/);
});
