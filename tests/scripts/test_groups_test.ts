import { assertEquals } from "../support/assert.ts";
import { chooseFiles, groupOf, testFiles } from "../../scripts/lib/test_groups.ts";

const MOUNTS = 'import { platformTest } from "x";\nplatformTest("a", () => {});\n';
const PLAIN = 'Deno.test("a platformTest() by name only", () => {});\n';
const ALL = [
  ["tests/binary/bare_root_test.ts", MOUNTS],
  ["tests/cache/crash_test.ts", MOUNTS],
  ["tests/cache/key_test.ts", PLAIN],
  ["tests/cli/version_test.ts", PLAIN],
  ["tests/house/layers_test.ts", PLAIN],
  ["tests/snapshot/create_test.ts", MOUNTS],
  ["tests/stream/receive_hostile_test.ts", PLAIN],
].map(([path, text]) => ({ path: path!, group: groupOf(path!, text!) }));
const PATHS = ALL.map(({ path }) => path);

Deno.test("a folder, a file's name or what a test wants puts it in a group", () => {
  const groups = ["binary", "crash", "unit", "unit", "house", "platform", "hostile"];
  assertEquals(ALL.map(({ group }) => group), groups);
});

Deno.test("everything runs once over the sources, the command line again on the file", () => {
  const { source, binary, executable } = chooseFiles(ALL, []);
  assertEquals([...source, ...binary].sort(), PATHS);
  assertEquals(executable, ["tests/cli/version_test.ts"]);
});

Deno.test("groups, folders and files can be named", () => {
  const sources = (...wanted: string[]) => chooseFiles(ALL, wanted).source;
  assertEquals(sources("crash", "hostile"), [PATHS[1], PATHS[6]]);
  assertEquals(sources("platform"), [PATHS[5]]);
  assertEquals(sources("tests/cache/"), [PATHS[1], PATHS[2]]);
  assertEquals(sources("cache"), [PATHS[1], PATHS[2]]);
  assertEquals(sources(PATHS[2]!), [PATHS[2]]);
  assertEquals(chooseFiles(ALL, ["unit"]).executable, []);
  assertEquals(sources("nonsense"), []);
});

Deno.test("the groups cover every test file of the project, and none is empty", () => {
  const repo = new URL("../../", import.meta.url).pathname;
  const all = testFiles(repo);
  const groups = ["unit", "platform", "hostile", "crash", "binary", "house"];
  const { source, binary } = chooseFiles(all, groups);
  assertEquals([...source, ...binary].sort(), all.map(({ path }) => path));
  assertEquals([...new Set(all.map(({ group }) => group))].sort(), groups.sort());
});
