/**
 * `deno task compile [--route auto|denort|self-extracting] [--arch x86_64|aarch64]
 * [--out FILE] [--deno FILE]`: makes the one file that people download.
 *
 * Takes `deno compile` where denort can be had, else the self-extracting form, and says
 * which. The same commit, Deno and lock file give the same bytes.
 */
import { type Arch, build, TARGETS } from "./release/build.ts";
import { compileWithDenort } from "./release/denort.ts";
import { writeSelfExtracting } from "./release/self_extracting.ts";

const REPO = new URL("../", import.meta.url).pathname;
const ROUTES = ["auto", "denort", "self-extracting"] as const;
const USAGE = "deno task compile [--route auto|denort|self-extracting] " +
  "[--arch x86_64|aarch64] [--out FILE] [--deno FILE]";

interface Options {
  route: typeof ROUTES[number];
  arch: Arch;
  out: string;
  /** A deno binary of the target's architecture; needed where it is not this machine's. */
  deno: string | undefined;
}

function parse(args: string[]): Options {
  const given: Record<string, string> = {};
  for (let at = 0; at < args.length; at += 2) {
    const [flag, value] = [args[at]!, args[at + 1]];
    if (!["--route", "--arch", "--out", "--deno"].includes(flag) || value === undefined) {
      throw new Error(`Wrong usage: ${args.join(" ")}\n${USAGE}`);
    }
    given[flag.slice(2)] = value;
  }
  const route = ROUTES.find((route) => route === (given.route ?? "auto"));
  const arch = given.arch ?? Deno.build.arch;
  if (!route || !(arch in TARGETS)) throw new Error(`Wrong usage\n${USAGE}`);
  const name = arch === Deno.build.arch ? "op-dbus" : `op-dbus-${arch}`;
  const out = given.out ?? `${REPO}dist/${name}`;
  return { route, arch: arch as Arch, out, deno: given.deno };
}

async function readDeno({ arch, deno }: Options): Promise<Uint8Array> {
  if (deno) return await Deno.readFile(deno);
  if (arch === Deno.build.arch) return await Deno.readFile(Deno.execPath());
  throw new Error(
    `A deno ${Deno.version.deno} for ${arch} is needed: ` +
      `npm pack ${TARGETS[arch].npm}@${Deno.version.deno}, unpack it, and name its ` +
      "binary with --deno",
  );
}

async function main(args: string[]): Promise<void> {
  const options = parse(args);
  const started = performance.now();
  const folder = await Deno.makeTempDir({ prefix: "op-dbus-build-" });
  // Written beside its place and renamed: a running dist/op-dbus is not overwritten.
  const made = `${options.out}.new`;
  try {
    const built = await build(`${folder}/app`, options.arch);
    await Deno.mkdir(new URL(".", `file://${absolute(options.out)}`), {
      recursive: true,
    });
    const route = await make(options, built, made);
    await Deno.rename(made, options.out);
    const { size } = await Deno.stat(options.out);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${options.out}: op-dbus ${built.version}${
        built.commit ? ` (${built.commit})` : ""
      }` +
        ` for ${options.arch}, ${route}, ${(size / 1e6).toFixed(1)} MB, in ${seconds} s`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
    await Deno.remove(made).catch(() => {/* renamed, or never made */});
  }
}

/** @returns the route taken, in words */
async function make(
  options: Options,
  built: Awaited<ReturnType<typeof build>>,
  path: string,
): Promise<string> {
  if (options.route !== "self-extracting") {
    const result = await compileWithDenort(built, options.arch, path);
    if (result.made) return "compiled with denort";
    if (options.route === "denort") throw new Error(`No denort: ${result.why}`);
    console.log(`No denort (${result.why}): making the self-extracting form`);
  }
  await writeSelfExtracting(built, options.arch, await readDeno(options), path);
  return "self-extracting (Deno inside)";
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
