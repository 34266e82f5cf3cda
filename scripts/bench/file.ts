/** The one file that people download: how soon it starts, what it takes. */
import type { Arch } from "../release/build.ts";
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";

const ROUNDS = { rounds: 21, warmup: 3 };
const FIRST_RUNS = { rounds: 5, warmup: 0 };
const RUN = ["run", "--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-npm"];

function start(program: string, args: string[], env: Record<string, string> = {}) {
  return () => {
    const { success, stderr } = new Deno.Command(program, { args, env }).outputSync();
    if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
  };
}

/** Peak resident memory of a program, in MiB, as the kernel counted it. */
function peakMiB(
  program: string,
  args: string[],
  env: Record<string, string>,
): number {
  const script =
    "import resource,subprocess,sys;subprocess.run(sys.argv[1:],check=True," +
    "stdout=subprocess.DEVNULL);" +
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024)";
  const { success, stdout, stderr } = new Deno.Command("python3", {
    args: ["-c", script, program, ...args],
    env,
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

async function file({ scratch }: BenchContext): Promise<Row[]> {
  const { build, MAIN } = await import("../release/build.ts");
  const { writeSelfExtracting } = await import("../release/self_extracting.ts");
  const { permissionFlags } = await import("../permissions.ts");
  const arch = Deno.build.arch as Arch, path = `${scratch}/op-dbus`;
  const built = await build(`${scratch}/app`, arch);
  const deno = Deno.execPath();
  await writeSelfExtracting(built, arch, await Deno.readFile(deno), path);
  const { size } = await Deno.stat(path);

  // Its own /var/cache, so that the first run is one, and the host's stays as it is.
  await Deno.mkdir(`${scratch}/cache`);
  const inside = (script: string) =>
    start("unshare", [
      ...["--mount", "sh", "-ec"],
      `mount --bind '${scratch}/cache' /var/cache; ${script}`,
    ]);
  const [first] = await sideBySide([
    inside(`rm -rf /var/cache/op-dbus; '${path}' version >/dev/null`),
  ], FIRST_RUNS);

  const entry = `${built.folder}/${MAIN}`;
  const [version, bundle, none] = await sideBySide([
    inside(`'${path}' version >/dev/null`),
    start(deno, [...RUN, ...permissionFlags(), entry, "version"], {
      DENO_DIR: `${scratch}/deno`,
    }),
    inside(":"),
  ], ROUNDS);
  const peer = { name: "`deno run` of the bundle", value: bundle! };
  const unpacked = `${scratch}/cache/op-dbus`;
  const [runtime] = [...Deno.readDirSync(unpacked)].map(({ name }) => name);
  const memory = peakMiB(`${unpacked}/${runtime}/op-dbus`, [
    ...[...RUN, ...permissionFlags()],
    ...[`${unpacked}/${runtime}/app/${MAIN}`, "version"],
  ], { DENO_DIR: `${unpacked}/${runtime}/cache` });
  return [
    row("file/size", "MB", "lower", size / 1e6),
    row("file/first-run", "ms", "lower", first! - none!),
    row("file/version", "ms", "lower", version! - none!, peer),
    row("file/version-peak-memory", "MiB", "lower", memory),
  ];
}

export const benches: Bench[] = [
  { name: "file", about: "the self-extracting executable (needs root)", run: file },
];
