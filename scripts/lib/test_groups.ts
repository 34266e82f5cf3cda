/**
 * Which test files belong to which group. A group is a folder (`tests/crash/`) or the end
 * of a file's name (`tests/cache/crash_test.ts`, `tests/cache/put_crash_test.ts`), so that
 * a room may keep its own; what belongs to none is `unit`.
 */

/** Groups that a folder or a file's name puts a test in. */
const NAMED = ["platform", "hostile", "crash", "binary", "house"] as const;

/** Tests of the command line and of the documents; they run over the sources and the file. */
const COMMAND_LINE = ["tests/cli/", "tests/docs/"];

/** Every test file, as paths from the repository. */
export function testFiles(repo: string): string[] {
  const found: string[] = [];
  const visit = (folder: string) => {
    for (const entry of Deno.readDirSync(repo + folder)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) visit(path);
      else if (entry.name.endsWith("_test.ts")) found.push(path);
    }
  };
  visit("tests");
  return found.sort();
}

/** The group of a test file. */
export function groupOf(path: string): string {
  return NAMED.find((group) =>
    path.startsWith(`tests/${group}/`) || path.endsWith(`/${group}_test.ts`) ||
    path.endsWith(`_${group}_test.ts`)
  ) ?? "unit";
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
export function chooseFiles(all: readonly string[], wanted: readonly string[]): Choice {
  const inGroup = (path: string, name: string) =>
    groupOf(path) === name || path === name ||
    path.startsWith(`${name.replace(/\/$/, "")}/`) || path.startsWith(`tests/${name}/`);
  const chosen = wanted.length === 0
    ? all
    : all.filter((path) => wanted.some((name) => inGroup(path, name)));
  const binary = chosen.filter((path) => groupOf(path) === "binary");
  return {
    source: chosen.filter((path) => groupOf(path) !== "binary"),
    binary: [...binary],
    executable: wanted.length === 0 || wanted.includes("binary")
      ? all.filter((path) => COMMAND_LINE.some((folder) => path.startsWith(folder)))
      : [],
  };
}
