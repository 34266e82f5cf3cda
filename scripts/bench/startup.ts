/** How long a command takes that does next to nothing: what every use pays first. */
import type { Arch } from "../release/build.ts";
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";

/** Flags of the executable's runtime, so that the bundle starts as it does inside it. */
const RUN = ["run", "--quiet", "-A", "--no-config", "--no-lock", "--no-npm"];
const ROUNDS = { rounds: 31, warmup: 4 };

function start(program: string, args: string[], env: Record<string, string>) {
  return () => {
    const { success, stderr } = new Deno.Command(program, { args, env }).outputSync();
    if (!success) {
      throw new Error(`${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    }
  };
}

async function startOfBundle({ scratch }: BenchContext): Promise<Row[]> {
  const { build, MAIN } = await import("../release/build.ts");
  const arch = Deno.build.arch as Arch;
  const { folder } = await build(`${scratch}/app`, arch);
  const empty = `${scratch}/empty.js`;
  await Deno.writeTextFile(empty, "");
  const env = {
    OPDBUS_ROOT: `${scratch}/root`,
    OPDBUS_CONFIG: "/dev/null",
    DENO_DIR: `${scratch}/deno`,
  };
  const deno = Deno.execPath();
  const ours = (...args: string[]) =>
    start(deno, [...RUN, `${folder}/${MAIN}`, ...args], env);
  ours("init", "--plain")();
  const [version, embed, nothing] = await sideBySide([
    ours("version"),
    ours("embed", "a text that is cached after the first round", "--output", "raw"),
    start(deno, [...RUN, empty], env),
  ], ROUNDS);
  const peer = { name: "an empty Deno script", value: nothing! };
  return [
    row("startup/version", "ms", "lower", version!, peer),
    row("startup/embed-one-cached-text", "ms", "lower", embed!, peer),
  ];
}

export const benches: Bench[] = [
  {
    name: "startup",
    about: "`version` and `embed` of the source bundle against an empty Deno script",
    run: startOfBundle,
  },
];
