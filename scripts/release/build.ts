/** What goes into the executable: the bundle of the program and the files it reads. */

import { createHash } from "node:crypto";
import { ASSETS, locateInNpmCache } from "../../lib/embed/onnx/assets.ts";

const REPO = new URL("../../", import.meta.url).pathname;

/** The file that starts the program. */
export const MAIN = "main.js";

/** Optional native parts of dbus-next that are never there; it works without them. */
const EXTERNAL = ["x11", "usocket", "debug"];

/** How the program is bundled, but for where to. */
const BUNDLE_FLAGS: readonly string[] = [
  // Names are kept: @stricli/core chooses its messages by an error's class name.
  ...["bundle", "--quiet", "--minify", "--keep-names", "--code-splitting"],
  ...EXTERNAL.flatMap((name) => ["--external", name]),
];

/**
 * What CommonJS packages inside the bundle (cli-progress, dbus-next) call to get node's own
 * modules; a bundle in module form has none. Looked up at the call: a start pays nothing.
 */
const REQUIRE = `var require=(name)=>{const found=process.getBuiltinModule(name);` +
  `if(found)return found;throw Object.assign(new Error("Cannot find module "+name),` +
  `{code:"MODULE_NOT_FOUND"})};\n`;

/** A processor that op-dbus is built for, by its name in `uname -m`. */
export type Arch = "x86_64" | "aarch64";

/** The names of one processor elsewhere. */
export const TARGETS: Readonly<Record<Arch, { deno: string; npm: string }>> = {
  x86_64: { deno: "x86_64-unknown-linux-gnu", npm: "@deno/linux-x64-glibc" },
  aarch64: { deno: "aarch64-unknown-linux-gnu", npm: "@deno/linux-arm64-glibc" },
};

/** Where a build is published; what is absent the user has to name. */
export interface Release {
  /** Folder of SHA256SUMS, without a slash at the end. */
  readonly url?: string;
  /** The line of the minisign public key: `RW...`. */
  readonly key?: string;
}

/** Where the pieces are, before they become one file. */
export interface Built {
  /** Folder that holds {@link MAIN}, the chunks that it loads, and the assets. */
  readonly folder: string;
  /** Names of what is in it: code sorted, then assets sorted. */
  readonly files: readonly string[];
  /** Those that are no code. */
  readonly assets: readonly string[];
  readonly version: string;
  /** Commit that it was built from; null outside a git checkout. */
  readonly commit: string | null;
}

/** Runs a program and gives its standard output; throws with its standard error. */
export async function output(
  program: string,
  args: string[],
  options: Deno.CommandOptions = {},
): Promise<string> {
  const done = await new Deno.Command(program, {
    cwd: REPO,
    ...options,
    args,
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  if (!done.success) {
    throw new Error(`${program} ${args[0] ?? ""} failed:\n${text.decode(done.stderr)}`);
  }
  return text.decode(done.stdout);
}

/**
 * The commit, `+` added where tracked files differ from it: such a file cannot be built
 * again by others.
 */
export async function commitOf(): Promise<string | null> {
  try {
    const hash = (await output("git", ["rev-parse", "--short=12", "HEAD"])).trim();
    const status = await output("git", ["status", "--porcelain", "--untracked-files=no"]);
    return status.trim() === "" ? hash : `${hash}+`;
  } catch {
    // No git, or no checkout (a source archive): SOURCE_COMMIT may say it.
    return Deno.env.get("SOURCE_COMMIT") ?? null;
  }
}

/**
 * Bundles main.ts and puts the engines' binaries for `arch` beside it.
 *
 * In chunks, because one file would load at every start each node: module that any
 * command uses.
 *
 * @param folder made by this
 * @param release what the build shall know of where it is published
 */
export async function build(
  folder: string,
  arch: Arch,
  release: Release = {},
): Promise<Built> {
  await Deno.mkdir(folder, { recursive: true });
  await bundle(folder);
  const commit = await commitOf();
  const code = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  const values = {
    "@COMMIT@": commit ?? undefined,
    "@RELEASE_URL@": release.url,
    "@RELEASE_KEY@": release.key,
  };
  for (const name of code) await finish(`${folder}/${name}`, values);
  const assets = await copyAssets(folder, arch);
  const version = await projectVersion();
  return { folder, files: [...code, ...assets], assets, version, commit };
}

/** All that a bundle is made of. */
const BUNDLED_SOURCES = ["deno.json", "deno.lock", "main.ts", "ffi", "lib"];

/**
 * Bundles main.ts into `folder`.
 *
 * esbuild orders modules by their paths relative to where it runs. So it runs on a copy
 * beside the npm cache: from there all paths are the same, wherever the checkout is.
 *
 * @param flags more of `deno bundle`
 */
export async function bundle(folder: string, ...flags: string[]): Promise<void> {
  const { denoDir } = JSON.parse(await output(Deno.execPath(), ["info", "--json"]));
  const copy = await Deno.makeTempDir({ dir: denoDir, prefix: "op-dbus-build-" });
  try {
    for (const name of BUNDLED_SOURCES) await copyTree(REPO + name, `${copy}/${name}`);
    const args = [...BUNDLE_FLAGS, ...flags, "--outdir", folder, "main.ts"];
    await output(Deno.execPath(), args, { cwd: copy });
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for (const { name } of Deno.readDirSync(from)) {
    await copyTree(`${from}/${name}`, `${to}/${name}`);
  }
}

/** Replaces the placeholders that have a value. */
export function fillIn(text: string, values: Record<string, string | undefined>): string {
  return Object.entries(values).reduce(
    (filled, [name, value]) => filled.replaceAll(name, value ?? name),
    text,
  );
}

/**
 * An import that is to happen later. Deno reads and parses every module that it can see
 * in a literal before the first one runs: 300 files at each start, twice an empty script.
 */
const LAZY_IMPORT = /\bimport\("(\.\/[^"]+)"\)/g;

/** Writes commit and `require` into a chunk; refuses one that tells where it was built. */
async function finish(
  path: string,
  values: Record<string, string | undefined>,
): Promise<void> {
  const code = await Deno.readTextFile(path);
  if (/op-dbus-build-/.test(code) || code.includes(REPO)) {
    throw new Error(`${path} contains paths of the machine that built it`);
  }
  const stamped = fillIn(code, values).replace(LAZY_IMPORT, 'import(String("$1"))');
  const start = /typeof require\b/.test(code) ? REQUIRE : "";
  await Deno.writeTextFile(path, start + stamped);
}

async function copyAssets(folder: string, arch: Arch): Promise<string[]> {
  const names: string[] = [];
  for (const asset of Object.values(ASSETS)) {
    const place = locateInNpmCache(asset, arch);
    const name = `${asset.npmPackage}@${asset.npmVersion}`;
    if (place === null) throw new Error(`Deno's cache has no ${name}: run deno install`);
    const bytes = await Deno.readFile(place);
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (digest !== asset.sha256[arch]) {
      throw new Error(`${place} has SHA-256 ${digest}, not ${asset.sha256[arch]}`);
    }
    await Deno.writeFile(`${folder}/${asset.fileName}`, bytes);
    names.push(asset.fileName);
  }
  return names.sort();
}

async function projectVersion(): Promise<string> {
  const { version } = JSON.parse(await Deno.readTextFile(`${REPO}deno.json`));
  return version;
}
