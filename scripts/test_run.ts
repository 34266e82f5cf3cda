/**
 * The part of scripts/test that runs on Deno: chooses the files, runs `deno test` over the
 * sources, then the command line's tests over the compiled executable, and adds up what
 * the JUnit reports say. The last line is `N passed, N failed[, N skipped]`.
 */
import { add, emptyCounts, parseJUnit, summaryLine } from "./lib/junit.ts";
import type { Counts } from "./lib/junit.ts";
import { readCoverage } from "./lib/coverage.ts";
import { makeBareStage } from "./lib/bare_stage.ts";
import { chooseFiles, testFiles } from "./lib/test_groups.ts";

const REPO = new URL("../", import.meta.url).pathname;
const TMPDIR = Deno.env.get("TMPDIR") ?? "/tmp";
const EXECUTABLE = `${REPO}dist/op-dbus`;

/** How to run tests. */
interface RunOptions {
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Goes before the command. */
  readonly enter?: readonly string[];
  /** More of `deno test`. */
  readonly flags?: readonly string[];
}

/** Runs `deno test` over the files and reads its report. */
async function runTests(
  title: string,
  files: string[],
  { env = {}, enter = [], flags = [] }: RunOptions = {},
): Promise<Counts> {
  const total = emptyCounts();
  if (files.length === 0) return total;
  console.log(`\n== ${title}: ${files.length} files`);
  const report = `${TMPDIR}/junit-${crypto.randomUUID()}.xml`;
  const extra = Deno.env.get("OPDBUS_TEST_FLAGS")?.split(" ").filter(Boolean) ?? [];
  const command = [...enter, Deno.execPath(), "test", "-A", "--no-prompt"];
  const { code } = await new Deno.Command(command[0]!, {
    args: [...command.slice(1), `--junit-path=${report}`, ...flags, ...extra, ...files],
    cwd: REPO,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn().status;
  add(total, await readReport(report, title));
  // A module that does not load, a leak between tests, a crash: no test case to blame.
  if (code !== 0 && total.failed.length === 0) {
    total.failed.push(`${title}: deno test ended with status ${code}`);
  }
  return total;
}

/**
 * The command line's tests on the executable: as root where libc is all there is and with
 * an empty environment; others cannot make such a place.
 */
async function runCommandLine(files: string[], env: Record<string, string>) {
  if (Deno.uid() !== 0) {
    return await runTests("command line on the executable", files, { env });
  }
  const stage = await Deno.makeTempDir({ prefix: "bare-" });
  await Deno.chmod(stage, 0o711);
  const { enter, env: bare } = await makeBareStage(stage, REPO, EXECUTABLE);
  return await runTests("command line in an empty root", files, { env: bare, enter });
}

async function readReport(path: string, title: string): Promise<Counts> {
  try {
    return parseJUnit(await Deno.readTextFile(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { ...emptyCounts(), failed: [`${title}: deno test left no report`] };
  }
}

async function compile(): Promise<boolean> {
  console.log("\n== compile: dist/op-dbus, which the next tests run");
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "scripts/compile.ts"],
    cwd: REPO,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn().status;
  return success;
}

/**
 * The executable unpacks its runtime into the user's cache at its first run. What these
 * tests add there goes when they end; what was there before stays.
 */
function removeWhatUnpacks(): Disposable {
  const folder = Deno.uid() === 0
    ? "/var/cache/op-dbus"
    : `${Deno.env.get("HOME") ?? "/nonexistent"}/.cache/op-dbus`;
  const before = namesIn(folder);
  return {
    [Symbol.dispose]() {
      const now = namesIn(folder) ?? [];
      for (const name of now.filter((name) => !before?.includes(name))) {
        removeIfThere(`${folder}/${name}`);
      }
      if (!before && now.length > 0) removeIfThere(folder);
    },
  };
}

/** A second run of the tests beside this one tidies the same folder. */
function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function namesIn(folder: string): string[] | undefined {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function tell(counts: Counts): void {
  console.log("");
  for (const name of counts.skipped) console.log(`skipped: ${name}`);
  for (const name of counts.failed) console.log(`failed: ${name}`);
  console.log(summaryLine(counts));
}

async function main(wanted: string[]): Promise<number> {
  const { source, binary, executable } = chooseFiles(testFiles(REPO), wanted);
  if (source.length + binary.length + executable.length === 0) {
    console.error(`No tests match: ${wanted.join(" ")}`);
    return 2;
  }
  // Of a part it would say nothing; a whole run is what it describes.
  const coverage = wanted.length === 0 ? `${TMPDIR}/coverage` : undefined;
  const total = await runTests("sources", source, {
    ...(coverage && {
      env: { OPDBUS_TEST_COVERAGE: coverage },
      flags: [`--coverage=${coverage}`, "--coverage-raw-data-only"],
    }),
  });
  if (binary.length + executable.length > 0) {
    if (await compile()) {
      using _unpacked = removeWhatUnpacks();
      const env = { OPDBUS_TEST_EXE: EXECUTABLE };
      add(total, await runTests("executable", binary, { env }));
      add(total, await runCommandLine(executable, env));
    } else total.failed.push("compile: no executable was made");
  }
  if (coverage) console.log(`\n${await readCoverage(coverage, REPO)}`);
  tell(total);
  return total.failed.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
