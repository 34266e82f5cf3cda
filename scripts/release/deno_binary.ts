/**
 * The deno binary of the architecture that is built for. Another one than this machine's
 * comes from npm, pinned by the digest in scripts/toolchain/package-lock.json.
 */
import { type Arch, output, TARGETS } from "./build.ts";

const REPO = new URL("../../", import.meta.url).pathname;
const TOOLCHAIN = new URL("../toolchain/", import.meta.url).pathname;

/** npm's names of the processors, for `--cpu`. */
const NPM_CPU: Readonly<Record<Arch, string>> = { x86_64: "x64", aarch64: "arm64" };

/**
 * @param path the binary, where the caller has one
 * @throws Error where npm cannot give it
 */
export async function readDeno(arch: Arch, path?: string): Promise<Uint8Array> {
  if (path !== undefined) return await Deno.readFile(path);
  if (arch === Deno.build.arch) return await Deno.readFile(Deno.execPath());
  return await Deno.readFile(await denoFromNpm(arch));
}

/**
 * Installs the binary below .tools/ unless it is there.
 *
 * @returns its path
 */
export async function denoFromNpm(arch: Arch): Promise<string> {
  const folder = `${REPO}.tools/${arch}`;
  const path = `${folder}/node_modules/${TARGETS[arch].npm}/deno`;
  if (await isInstalled(folder, path)) return path;
  await Deno.mkdir(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) {
    await Deno.copyFile(TOOLCHAIN + name, `${folder}/${name}`);
  }
  await output("npm", [
    ...["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    ...["--cpu", NPM_CPU[arch], "--os", "linux", "--libc", "glibc"],
  ], { cwd: folder });
  return path;
}

/** Whether an earlier run has finished with the same lock file. */
async function isInstalled(folder: string, path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    const lock = await Deno.readTextFile(`${folder}/package-lock.json`);
    return lock === await Deno.readTextFile(`${TOOLCHAIN}package-lock.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
