/**
 * Which test files belong to which group. A group is a folder (`tests/crash/`) or the end
 * of a file's name (`tests/cache/crash_test.ts`, `tests/cache/put_crash_test.ts`), so that
 * a room may keep its own. Of the others, those with a test that wants a real btrfs are
 * `platform`, the rest is `unit`.
 */

/** Groups that a folder or a file's name puts a test in. */
const NAMED = ["hostile", "crash", "binary", "house"] as const;
/** How a test says that it wants root and a loop-mounted btrfs. */
const PLATFORM_CALL = /^platformTest\(/m;

/** Tests of the command line and of the documents; they run over the sources and the file. */
const COMMAND_LINE = ["tests/cli/", "tests/docs/"];

/** A test file. */
export interface TestFile {
  /** From the repository. */
  readonly path: string;
  readonly group: string;
}

/** Every test file, sorted by path. */
export function testFiles(repo: string): TestFile[] {
  const found: TestFile[] = [];
  const visit = (folder: string) => {
    for (const entry of Deno.readDirSync(repo + folder)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) visit(path);
      else if (entry.name.endsWith("_test.ts")) {
        found.push({ path, group: groupOf(path, Deno.readTextFileSync(repo + path)) });
      }
    }
  };
  visit("tests");
  return found.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** The group of a test file. @param text what stands in it */
export function groupOf(path: string, text: string): string {
  return NAMED.find((group) =>
    path.startsWith(`tests/${group}/`) || path.endsWith(`/${group}_test.ts`) ||
    path.endsWith(`_${group}_test.ts`)
  ) ?? (PLATFORM_CALL.test(text) ? "platform" : "unit");
}

/** What to run: over the sources, only with the executable, and again with it. */
export interface Choice {
  source: string[];
  binary: string[];
  executable: string[];
}

/**
 * @param all every test file
 * @param wanted groups, folders or files; none for everything
 */
export function chooseFiles(
  all: readonly TestFile[],
  wanted: readonly string[],
): Choice {
  const inGroup = ({ path, group }: TestFile, name: string) =>
    group === name || path === name ||
    path.startsWith(`${name.replace(/\/$/, "")}/`) || path.startsWith(`tests/${name}/`);
  const chosen = wanted.length === 0
    ? all
    : all.filter((file) => wanted.some((name) => inGroup(file, name)));
  const paths = (files: readonly TestFile[]) => files.map(({ path }) => path);
  return {
    source: paths(chosen.filter(({ group }) => group !== "binary")),
    binary: paths(chosen.filter(({ group }) => group === "binary")),
    executable: wanted.length === 0 || wanted.includes("binary")
      ? paths(all).filter((path) =>
        COMMAND_LINE.some((folder) => path.startsWith(folder))
      )
      : [],
  };
}
