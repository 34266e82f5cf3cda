/**
 * `deno task bench [NAME...] [--json] [--list]`: runs scripts/bench/*.ts.
 *
 * NAME is a bench's name or the beginning of one; without any, all run. Rows go to
 * standard output (`--json`: one array), everything else to standard error.
 */
import { type Bench, type Row, verdict } from "./bench_kit.ts";

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
function figure(value: number): string {
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

async function runOne(bench: Bench): Promise<Row[]> {
  const scratch = await Deno.makeTempDir({ prefix: `op-dbus-bench-` });
  try {
    return await bench.run({ scratch, note: (text) => console.error(`  ${text}`) });
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

async function main(args: string[]): Promise<void> {
  const json = args.includes("--json"), list = args.includes("--list");
  const unknown = args.find((arg) =>
    arg.startsWith("-") && !["--json", "--list"].includes(arg)
  );
  if (unknown) throw new Error(`Unknown flag ${unknown}: --json, --list`);
  const all = await loadBenches();
  if (list) return all.forEach(({ name, about }) => console.log(`${name}: ${about}`));

  const rows: Row[] = [];
  for (const bench of choose(all, args.filter((arg) => !arg.startsWith("-")))) {
    console.error(`${bench.name}: ${bench.about}`);
    const found = await runOne(bench);
    rows.push(...found);
    if (!json) found.forEach((row) => console.log(line(row)));
  }
  if (json) console.log(JSON.stringify(rows, null, 2));
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
