/** Plugins: a whole install beside `zstd -d | btrfs receive`, activation, listing. */
import type { Arch } from "../release/build.ts";
import { type Bench, type BenchContext, median, type Row, row } from "../bench_kit.ts";

const PACKAGE_BYTES = 1024 * 1024;
const FILES = 64;
const ROUNDS = 9;
const PLUGINS = 200;
const IMAGE_MB = 1024;

async function run(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** A btrfs image of its own, mounted while `body` runs. */
async function onBtrfs<T>(scratch: string, body: (at: string) => Promise<T>): Promise<T> {
  const image = `${scratch}/image`, at = `${scratch}/btrfs`;
  await Deno.mkdir(at);
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, IMAGE_MB * 1024 * 1024);
  await run("mkfs.btrfs", "-q", image);
  await run("mount", "-o", "loop", image, at);
  try {
    return await body(at);
  } finally {
    await run("umount", "-l", at);
    await Deno.remove(image);
  }
}

/** The program as users start it: the bundle of a release. */
async function bundle(scratch: string): Promise<string[]> {
  const { build, MAIN } = await import("../release/build.ts");
  const { folder } = await build(`${scratch}/app`, Deno.build.arch as Arch);
  const flags = ["run", "--quiet", "-A", "--no-config", "--no-lock", "--no-npm"];
  return [Deno.execPath(), ...flags, `${folder}/${MAIN}`];
}

async function timed(body: () => unknown | Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

function base64(sizeBytes: number): string {
  let text = "";
  while (text.length < sizeBytes) {
    text += crypto.getRandomValues(new Uint8Array(30_000)).toBase64();
  }
  return text.slice(0, sizeBytes);
}

/** Signed packages of about one MiB each, versions 1.0.0 to 1.0.<count>. */
async function packages(folder: string, count: number) {
  const { packPlugin } = await import("../../lib/plugin/pack.ts");
  const { signFile } = await import("../../lib/plugin/sign_file.ts");
  const secret = await import("../../lib/plugin/minisign/secret_key.ts");
  const { formatPublicKey } = await import("../../lib/plugin/minisign/format.ts");
  const key = secret.generateSecretKey();
  await Deno.mkdir(`${folder}/src/state`, { recursive: true });
  await Deno.writeTextFile(`${folder}/key.pub`, formatPublicKey(key));
  const files: string[] = [];
  for (let n = 0; n < count; n++) {
    // base64 shrinks to three quarters: the package then is one MiB.
    for (let i = 0; i < FILES; i++) {
      const text = base64(Math.floor(PACKAGE_BYTES / FILES / 0.75));
      await Deno.writeTextFile(`${folder}/src/file-${i}`, text);
    }
    await Deno.writeTextFile(
      `${folder}/src/plugin.toml`,
      `name = "bench"\nversion = "1.0.${n}"\nauthor = "bench"\n`,
    );
    const { path } = await packPlugin(`${folder}/src`, { output: folder });
    signFile(path, key);
    files.push(path);
  }
  return files;
}

async function installRows({ scratch, note }: BenchContext): Promise<Row[]> {
  const program = await bundle(scratch);
  return await onBtrfs(scratch, async (at) => {
    await Deno.mkdir(`${scratch}/work`);
    await Deno.mkdir(`${at}/received`);
    await Deno.mkdir(`${at}/checked`);
    const files = await packages(`${scratch}/work`, ROUNDS + 2);
    const { size } = await Deno.stat(files[0]!);
    note(`packages of ${size} bytes, ${FILES} files`);
    const op = (...args: string[]) =>
      run(program[0]!, ...program.slice(1), "--root", `${at}/root`, ...args);
    await op("init");
    await op("key", "trust", `${scratch}/work/key.pub`, "--yes");
    const ours: number[] = [], start: number[] = [];
    const bare: number[] = [], checked: number[] = [];
    for (const [n, file] of files.entries()) {
      const pipe = (into: string) => `zstd -dc '${file}' | btrfs receive -q '${into}'`;
      // What an install does beside receiving: signature before, durable after.
      const whole = `minisign -Vqm '${file}' -p '${scratch}/work/key.pub' && ` +
        `${pipe(`${at}/checked`)} && btrfs filesystem sync '${at}'`;
      const b = await timed(() => run("sh", "-c", pipe(`${at}/received`)));
      await run("sync", "-f", at);
      const c = await timed(() => run("sh", "-c", whole));
      const a = await timed(() => op("plugin", "install", file, "--yes"));
      const s = await timed(() => op("version"));
      if (n < 2) continue;
      ours.push(a);
      start.push(s);
      bare.push(b);
      checked.push(c);
    }
    const net = ours.map((ms, i) => ms - start[i]!);
    const alone = { name: "zstd -d | btrfs receive", value: median(bare) };
    const alike = { name: "minisign -V, that pipe, a sync", value: median(checked) };
    return [
      row("plugin-install/process", "ms", "lower", median(ours), alone),
      row("plugin-install/above-start", "ms", "lower", median(net), alone),
      row("plugin-install/process-verified", "ms", "lower", median(ours), alike),
      row("plugin-install/above-start-verified", "ms", "lower", median(net), alike),
    ];
  });
}

async function activateRows({ scratch }: BenchContext): Promise<Row[]> {
  const { Layout } = await import("../../lib/base/layout.ts");
  const { activateVersion } = await import("../../lib/plugin/manage.ts");
  const { installPlugins } = await import("../../lib/plugin/install.ts");
  const { withWorkplace } = await import("../../lib/plugin/workplace.ts");
  const { TrustStore } = await import("../../lib/plugin/trust_store.ts");
  const { Repositories } = await import("../../lib/plugin/repositories.ts");
  const { Catalog } = await import("../../lib/plugin/catalog.ts");
  const { thisHost } = await import("../../lib/plugin/requirements.ts");
  const recorder = { record: () => Promise.resolve() };
  return await onBtrfs(scratch, async (at) => {
    await Deno.mkdir(`${scratch}/work`);
    const files = await packages(`${scratch}/work`, 2);
    const layout = new Layout(at);
    const trust = new TrustStore(layout), repositories = new Repositories(layout);
    const context = {
      layout,
      trust,
      repositories,
      fetch: {},
      allowUnsigned: true,
      note: () => {},
      host: thisHost(),
      catalog: await Catalog.load(repositories, trust),
      agree: () => Promise.resolve(),
    };
    const times = await withWorkplace({ layout, recorder }, async (place) => {
      for (const path of files) {
        await installPlugins(place, [{ kind: "file", path }], context);
      }
      const found: number[] = [];
      for (let n = 0; n < ROUNDS * 3; n++) {
        await Deno.writeTextFile(`${layout.plugin("bench")}/state/mine`, String(n));
        const version = { name: "bench", version: `1.0.${n % 2}` };
        found.push(await timed(() => activateVersion(place, version)));
      }
      return found;
    });
    return [row("plugin-activate", "ms", "lower", median(times))];
  });
}

async function listRows({ scratch }: BenchContext): Promise<Row[]> {
  const program = await bundle(scratch);
  const root = `${scratch}/root`;
  const op = (...args: string[]) =>
    run(program[0]!, ...program.slice(1), "--root", root, ...args);
  await op("init", "--plain");
  for (let n = 0; n < PLUGINS; n++) {
    await Deno.mkdir(`${root}/@plugin-bench-${n}`);
    const text =
      `[plugin]\nname = "bench-${n}"\nversion = "1.2.${n}"\nauthor = "bench"\n` +
      `description = "One of many"\ndependencies = ["net@^1"]\n[capabilities]\nquery = true\n`;
    await Deno.writeTextFile(`${root}/@plugin-bench-${n}/plugin.toml`, text);
  }
  const ours: number[] = [], start: number[] = [];
  for (let n = -2; n < ROUNDS * 2; n++) {
    const a = await timed(() => op("plugin", "list"));
    const s = await timed(() => op("version"));
    if (n >= 0) ours.push(a);
    if (n >= 0) start.push(s);
  }
  const net = ours.map((ms, i) => ms - start[i]!);
  return [row("plugin-list/200-above-start", "ms", "lower", median(net))];
}

export const benches: Bench[] = [
  {
    name: "plugin-install",
    about: "a signed 1 MB package from a file, whole process, beside the bare pipeline",
    run: installRows,
  },
  {
    name: "plugin-activate",
    about: "another version live, the user's state carried over, durable",
    run: activateRows,
  },
  {
    name: "plugin-list",
    about: "`plugin list` of 200 plugins, above the start of the program",
    run: listRows,
  },
];
