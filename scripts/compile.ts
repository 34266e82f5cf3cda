/**
 * `deno task compile [FLAGS]`: makes the one file that people download, dist/op-dbus, and
 * beside it what is published with it.
 *
 * Takes `deno compile` where denort can be had, else the self-extracting form, and says
 * which. The same commit, Deno and lock file give the same bytes.
 */
import { createHash } from "node:crypto";
import { parseSecretKey, type SecretKey } from "../lib/plugin/minisign/secret_key.ts";
import { publicKeyLine } from "../lib/plugin/minisign/format.ts";
import { type Arch, build, type Built, type Release, TARGETS } from "./release/build.ts";
import { readDeno } from "./release/deno_binary.ts";
import { compileWithDenort } from "./release/denort.ts";
import { publish, publishedName, signSums } from "./release/publish.ts";
import { writeSelfExtracting } from "./release/self_extracting.ts";

const REPO = new URL("../", import.meta.url).pathname;
const ROUTES = ["auto", "denort", "self-extracting"] as const;
const FLAGS = {
  "--route": "auto, denort or self-extracting",
  "--arch": "x86_64 or aarch64 (default: this machine's)",
  "--dist": "folder to write to (default: dist)",
  "--deno":
    "a deno binary of that architecture (default: this one, or npm's for another)",
  "--sign": "minisign secret key file; its password in OPDBUS_SIGN_PASSWORD",
  "--url": "where the release will lie, for install.sh and `op-dbus self update`",
} as const;

interface Options {
  route: typeof ROUTES[number];
  arch: Arch;
  dist: string;
  deno: string | undefined;
  sign: string | undefined;
  url: string | undefined;
}

function usage(): string {
  const lines = Object.entries(FLAGS).map(([flag, about]) => `  ${flag}  ${about}`);
  return ["deno task compile [FLAG VALUE]...", ...lines].join("\n");
}

function parse(args: string[]): Options {
  const given = new Map<string, string>();
  for (let at = 0; at < args.length; at += 2) {
    const [flag, value] = [args[at]!, args[at + 1]];
    if (!Object.hasOwn(FLAGS, flag) || value === undefined) {
      throw new Error(`Wrong usage: ${args.join(" ")}\n${usage()}`);
    }
    given.set(flag, value);
  }
  const route = ROUTES.find((route) => route === (given.get("--route") ?? "auto"));
  const arch = given.get("--arch") ?? Deno.build.arch;
  if (!route || !Object.hasOwn(TARGETS, arch)) {
    throw new Error(`Wrong usage: ${args.join(" ")}\n${usage()}`);
  }
  return {
    route,
    arch: arch as Arch,
    dist: given.get("--dist") ?? `${REPO}dist`,
    deno: given.get("--deno"),
    sign: given.get("--sign"),
    url: given.get("--url"),
  };
}

async function readKey({ sign }: Options): Promise<SecretKey | undefined> {
  if (sign === undefined) return undefined;
  const password = () => {
    const given = Deno.env.get("OPDBUS_SIGN_PASSWORD");
    if (given === undefined) throw new Error("OPDBUS_SIGN_PASSWORD is not set");
    return given;
  };
  return await parseSecretKey(await Deno.readTextFile(sign), password, sign);
}

async function main(args: string[]): Promise<void> {
  const options = parse(args), { dist, arch, url } = options;
  const started = performance.now();
  const key = await readKey(options);
  const release: Release = {
    ...(url !== undefined && { url }),
    ...(key && { key: publicKeyLine(key) }),
  };
  const folder = await Deno.makeTempDir({ prefix: "op-dbus-build-" });
  try {
    const deno = await readDeno(arch, options.deno);
    const built = await build(`${folder}/app`, arch, release);
    await Deno.mkdir(dist, { recursive: true });
    const route = await make(options, built, deno, `${folder}/op-dbus`);
    await place(`${folder}/op-dbus`, options);
    const digest = createHash("sha256").update(deno).digest("hex");
    await publish(dist, built, arch, digest, release);
    await Deno.remove(`${dist}/SHA256SUMS.minisig`).catch(() => {/* there was none */});
    if (key) await signSums(dist, built.version, key);
    const { size } = await Deno.stat(`${dist}/${publishedName(arch)}`);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${dist}/op-dbus: op-dbus ${built.version}${
        built.commit ? ` (${built.commit})` : ""
      }` +
        ` for ${arch}, ${route}, ${(size / 1e6).toFixed(1)} MB, in ${seconds} s`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Renames into dist/, so that an op-dbus that runs from there is not overwritten; from a
 * folder of this run's own, so that one that was killed does not stand in the way.
 */
async function place(made: string, { dist, arch }: Options): Promise<void> {
  const work = await Deno.makeTempDir({ dir: dist, prefix: ".place-" });
  const file = `${work}/op-dbus`, second = `${work}/second`;
  try {
    await Deno.copyFile(made, file);
    await Deno.chmod(file, 0o755);
    if (arch === Deno.build.arch) {
      await Deno.link(file, second);
      await Deno.rename(second, `${dist}/op-dbus`);
    }
    await Deno.rename(file, `${dist}/${publishedName(arch)}`);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** @returns the route taken, in words */
async function make(
  options: Options,
  built: Built,
  deno: Uint8Array,
  path: string,
): Promise<string> {
  if (options.route !== "self-extracting") {
    const result = await compileWithDenort(built, options.arch, path);
    if (result.made) return "compiled with denort";
    if (options.route === "denort") throw new Error(`No denort: ${result.why}`);
    console.log(`No denort (${result.why}): making the self-extracting form`);
  }
  await writeSelfExtracting(built, options.arch, deno, path);
  return "self-extracting (Deno inside)";
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
