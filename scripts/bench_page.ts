/** The page of measurements: what `deno task bench --page` writes. */
import { type Bench, isMet, limitsText, type Row } from "./bench_kit.ts";
import { commitOf } from "./release/build.ts";

/** A bench and what it gave. */
export interface Measured {
  readonly bench: Bench;
  readonly rows: readonly Row[];
  /** Why it did not run. */
  readonly problem?: string;
}

const GIB = 1024 ** 3;

/**
 * @param measured in the order of the page
 * @param figure writes a number with the digits that matter
 */
export async function measurementsPage(
  measured: readonly Measured[],
  figure: (value: number) => string,
): Promise<string> {
  const all = measured.flatMap(({ rows }) => rows);
  const aimed = all.filter(({ target }) => target);
  const missed = aimed.filter((row) => !isMet(row, row.target!));
  return [
    "# Measurements",
    "Written by `deno task bench --page docs/measurements.md`; do not edit. Absolute figures " +
    "are this machine's. A ratio is ours divided by the peer's, measured interleaved in the " +
    "same run, and carries over better.",
    await machineText(),
    `${all.length} figures. ${aimed.length} have a target: ` +
    `${aimed.length - missed.length} met it, ${missed.length} did not.`,
    ...(missed.length === 0
      ? []
      : ["## Missed", missed.map(missText(figure)).join("\n")]),
    ...measured.flatMap(({ bench, rows, problem }) => [
      `## ${bench.name}`,
      `${bench.about}.`,
      problem ? `Did not run: ${problem}` : table(rows, figure),
    ]),
  ].join("\n\n") + "\n";
}

/** What it ran on, from the machine itself. */
async function machineText(): Promise<string> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const model = cpuinfo.match(/^model name\s*: (.*)$/m)?.[1] ?? Deno.build.arch;
  const { total } = Deno.systemMemoryInfo();
  return [
    `- Date: ${new Date().toISOString().slice(0, 10)}`,
    `- Machine: ${model}, ${navigator.hardwareConcurrency} CPUs, ` +
    `${(total / GIB).toFixed(0)} GiB of memory, Linux ${Deno.osRelease()}`,
    `- Deno ${Deno.version.deno}, op-dbus at commit ${await commitOf() ?? "unknown"}`,
  ].join("\n");
}

const missText = (figure: (value: number) => string) => (row: Row): string => {
  const { target, ratio, value, unit, peer } = row;
  const found = target!.of === "ratio" && ratio !== null
    ? `${figure(ratio)} × ${peer}`
    : `${figure(value)} ${unit}`;
  const why = target!.why ? `. ${target!.why}` : "";
  return `- \`${row.name}\`: ${found}, wanted ${limitsText(target!)}${why}`;
};

function table(rows: readonly Row[], figure: (value: number) => string): string {
  const lines = rows.map((row) => {
    const ratio = row.ratio === null ? "" : `${figure(row.ratio)} × ${row.peer}`;
    const wanted = row.target
      ? `${limitsText(row.target)}: ${isMet(row, row.target) ? "met" : "**missed**"}`
      : "";
    return `| \`${row.name}\` | ${
      figure(row.value)
    } ${row.unit} | ${ratio} | ${wanted} |`;
  });
  return ["| what | figure | beside its peer | wanted |", "|---|---|---|---|", ...lines]
    .join("\n");
}
