/** How much of lib/ and ffi/ the tests over the sources ran. */

/** Files that are named because least of them ran. */
const LEAST_SHOWN = 5;

/** One row of Deno's table. */
export interface CoverageRow {
  readonly file: string;
  /** Percent of lines. */
  readonly lines: number;
  /** Percent of branches. */
  readonly branches: number;
}

/**
 * Reads the table that `deno coverage` prints: `| file | branch % | function % | line % |`.
 */
export function parseCoverage(table: string): CoverageRow[] {
  const rows = table.matchAll(
    /^\| (\S.*?) +\| +([\d.]+) \| +([\d.]+) \| +([\d.]+) \|$/gm,
  );
  return [...rows].map(([, file, branches, , lines]) => ({
    file: file!,
    lines: Number(lines),
    branches: Number(branches),
  }));
}

/** The lines to print: the whole, then the files of which least ran. */
export function coverageText(rows: readonly CoverageRow[]): string {
  const all = rows.find(({ file }) => file === "All files");
  if (!all) return "Coverage: nothing was measured";
  const least = rows.filter((row) => row !== all)
    .sort((a, b) => a.lines - b.lines).slice(0, LEAST_SHOWN);
  return [
    `Coverage of lib/ and ffi/ by the tests over the sources: ` +
    `${all.lines} % of lines, ${all.branches} % of branches. Least:`,
    ...least.map(({ file, lines }) => `  ${lines.toFixed(1).padStart(5)} %  ${file}`),
  ].join("\n");
}

/**
 * @param folder what `deno test --coverage` and DENO_COVERAGE_DIR wrote
 * @param repo the checkout, with a slash at the end
 */
export async function readCoverage(folder: string, repo: string): Promise<string> {
  removeCutFiles(folder);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["coverage", folder, `--include=^file://${repo}(lib|ffi)/`],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  if (!success) return `Coverage could not be read: ${text.decode(stderr).trim()}`;
  return coverageText(parseCoverage(text.decode(stdout) + text.decode(stderr)));
}

/** A program that a test killed may have been writing: Deno reads all files or none. */
function removeCutFiles(folder: string): void {
  const last = new Uint8Array(1);
  for (const { name } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    if (!name.endsWith(".json")) continue;
    using file = Deno.openSync(path);
    const { size } = file.statSync();
    if (size > 0) {
      file.seekSync(size - 1, Deno.SeekMode.Start);
      file.readSync(last);
    }
    if (size === 0 || last[0] !== "}".charCodeAt(0)) Deno.removeSync(path);
  }
}
