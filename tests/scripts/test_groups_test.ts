import { assertEquals } from "../support/assert.ts";
import { chooseFiles, groupOf, testFiles } from "../../scripts/lib/test_groups.ts";

const ALL = [
  "tests/binary/bare_root_test.ts",
  "tests/cache/crash_test.ts",
  "tests/cache/key_test.ts",
  "tests/cli/version_test.ts",
  "tests/house/layers_test.ts",
  "tests/stream/receive_hostile_test.ts",
];

Deno.test("a folder or the end of a file's name puts a test in a group", () => {
  assertEquals(ALL.map(groupOf), ["binary", "crash", "unit", "unit", "house", "hostile"]);
});

Deno.test("everything runs once over the sources, the command line again on the file", () => {
  const { source, binary, executable } = chooseFiles(ALL, []);
  assertEquals([...source, ...binary].sort(), ALL);
  assertEquals(executable, ["tests/cli/version_test.ts"]);
});

Deno.test("groups, folders and files can be named", () => {
  assertEquals(chooseFiles(ALL, ["crash", "hostile"]).source, [ALL[1], ALL[5]]);
  assertEquals(chooseFiles(ALL, ["tests/cache/"]).source, [ALL[1], ALL[2]]);
  assertEquals(chooseFiles(ALL, ["cache"]).source, [ALL[1], ALL[2]]);
  assertEquals(chooseFiles(ALL, [ALL[2]!]).source, [ALL[2]]);
  assertEquals(chooseFiles(ALL, ["unit"]).executable, []);
  assertEquals(chooseFiles(ALL, ["nonsense"]).source, []);
});

Deno.test("the groups cover every test file of the project", () => {
  const repo = new URL("../../", import.meta.url).pathname;
  const all = testFiles(repo);
  const groups = ["unit", "platform", "hostile", "crash", "binary", "house"];
  const { source, binary } = chooseFiles(all, groups);
  assertEquals([...source, ...binary].sort(), all);
});
