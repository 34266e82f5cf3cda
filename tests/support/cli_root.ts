/** Roots for tests of the command line. */
import { btrfsScratch, type Scratch, tempFolder } from "./scratch.ts";
import { cli, type CliOptions, type CliResult } from "./cli.ts";

/** A finished root and a short way to run op-dbus on it. */
export interface TestRoot extends AsyncDisposable {
  /** The root folder. */
  readonly path: string;
  /** What it lies on: scratch folder or mount point. */
  readonly scratch: Scratch;
  /** Runs op-dbus with `--root` set. */
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>;
  /** {@link run} that fails the test unless the exit code is 0; returns parsed JSON. */
  // deno-lint-ignore no-explicit-any
  json(...args: string[]): Promise<any>;
}

async function rootOn(scratch: Scratch, initArgs: string[]): Promise<TestRoot> {
  const path = `${scratch.path}/root`;
  const run = (args: readonly string[], options: CliOptions = {}) =>
    cli(["--root", path, ...args], options);
  const made = await run(["init", ...initArgs]);
  if (made.code !== 0) throw new Error(`init: exit ${made.code}: ${made.stderr}`);
  return {
    path,
    scratch,
    run,
    async json(...args) {
      const { code, stdout, stderr } = await run([...args, "--json"]);
      if (code !== 0) throw new Error(`${args.join(" ")}: exit ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

/** A root on a plain folder. */
export async function plainRoot(): Promise<TestRoot> {
  return await rootOn(await tempFolder(), ["--plain"]);
}

/** A root on a btrfs of its own. @param sizeMb size of the image in MiB */
export async function btrfsRoot(
  sizeMb = 256,
  mkfsArgs: string[] = [],
): Promise<TestRoot> {
  return await rootOn(await btrfsScratch(sizeMb, "", mkfsArgs), []);
}
