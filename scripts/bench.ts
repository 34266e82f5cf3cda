/**
 * `deno task bench [NAME...] [--json] [--page FILE] [--list]`: runs scripts/bench/*.ts.
 *
 * NAME is a bench's name or the beginning of one; without any, all run. Rows go to
 * standard output (`--json`: one array), everything else to standard error. `--page` also
 * writes them as a page for people, with this machine and the date.
 */
import { type Bench, type Row, verdict } from "./bench_kit.ts";
import { withTarget } from "./bench_targets.ts";
import { type Measured, measurementsPage } from "./bench_page.ts";

const FOLDER = new URL("./bench/", import.meta.url);

async function loadBenches(): Promise<Bench[]> {
  const files = [...Deno.readDirSync(FOLDER)].map((entry) => entry.name)
    .filter((name) => name.endsWith(".ts")).sort();
  const found: Bench[] = [];
  for (const file of files) {
    const module = await import(new URL(file, FOLDER).href);
    if (!Array.isArray(module.benches)) {
      throw new Error(`scripts/bench/${file} exports no benches`);
    }
    found.push(...module.benches);
  }
  return found;
}

function choose(all: Bench[], names: string[]): Bench[] {
  for (const name of names) {
    if (!all.some((bench) => bench.name.startsWith(name))) {
      throw new Error(
        `No bench ${name}. There are: ${all.map((bench) => bench.name).join(", ")}`,
      );
    }
  }
  return all.filter((bench) =>
    names.length === 0 || names.some((name) => bench.name.startsWith(name))
  );
}

/** `12.3 ms`, three digits that matter. */
export function figure(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 6));
}

/** A row in words: a ratio below 1 is good where lower is better. */
function line(row: Row): string {
  const start = `${row.name.padEnd(36)} ${figure(row.value).padStart(9)} ${row.unit}`;
  const end = row.target ? `  ${verdict(row, row.target)}` : "";
  if (row.peer === null || row.ratio === null) return start + end;
  return `${start.padEnd(56)} ${
    figure(row.ratio)
  } × ${row.peer} (${row.better} is better)${end}`;
}

/** One bench that cannot run here keeps no other from running. */
async function runOne(bench: Bench): Promise<Omit<Measured, "bench">> {
  const scratch = await Deno.makeTempDir({ prefix: `op-dbus-bench-` });
  try {
    const note = (text: string) => console.error(`  ${text}`);
    return { rows: (await bench.run({ scratch, note })).map(withTarget) };
  } catch (error) {
    return { rows: [], problem: error instanceof Error ? error.message : String(error) };
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

/** What the words after the task's name ask for. */
interface Wishes {
  readonly json: boolean;
  readonly list: boolean;
  readonly page: string | undefined;
  readonly names: string[];
}

function parse(args: string[]): Wishes {
  const rest = [...args];
  const at = rest.indexOf("--page");
  const [, page] = at === -1 ? [] : rest.splice(at, 2);
  if (at !== -1 && page === undefined) throw new Error("--page needs the name of a file");
  const unknown = rest.find((arg) =>
    arg.startsWith("-") && !["--json", "--list"].includes(arg)
  );
  if (unknown) throw new Error(`Unknown flag ${unknown}: --json, --page FILE, --list`);
  return {
    json: rest.includes("--json"),
    list: rest.includes("--list"),
    page,
    names: rest.filter((arg) => !arg.startsWith("-")),
  };
}

/** @returns the exit status: 1 where a bench could not run */
async function main(args: string[]): Promise<number> {
  const { json, list, page, names } = parse(args);
  const all = await loadBenches();
  if (list) {
    all.forEach(({ name, about }) => console.log(`${name}: ${about}`));
    return 0;
  }

  const measured: Measured[] = [];
  for (const bench of choose(all, names)) {
    console.error(`${bench.name}: ${bench.about}`);
    const found = await runOne(bench);
    measured.push({ bench, ...found });
    if (!json) found.rows.forEach((row) => console.log(line(row)));
    if (found.problem) console.error(`  did not run: ${found.problem}`);
  }
  if (json) console.log(JSON.stringify(measured.flatMap(({ rows }) => rows), null, 2));
  if (page) await Deno.writeTextFile(page, await measurementsPage(measured, figure));
  return measured.some(({ problem }) => problem) ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
