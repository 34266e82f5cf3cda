/**
 * What lies beside the executable in dist/: the bill of materials, manual pages,
 * completions, units for systemd, the policy of the bus name, the installer, SHA256SUMS
 * over all of it, and its signature.
 */
import { createHash } from "node:crypto";
import { loadRoutes } from "../../lib/cli/app.ts";
import { completionScript, SHELLS } from "../../lib/cli/completion_scripts.ts";
import { commandTree } from "../../lib/cli/tree.ts";
import { formatSignature } from "../../lib/plugin/minisign/format.ts";
import type { SecretKey } from "../../lib/plugin/minisign/secret_key.ts";
import { digestBytes, signDigests } from "../../lib/plugin/minisign/sign.ts";
import { signingTime } from "../../lib/plugin/sign_file.ts";
import { type Arch, type Built, fillIn, type Release } from "./build.ts";
import { manPages } from "./man.ts";
import { billOfMaterials } from "./sbom.ts";

const INSTALLER = new URL("../install.sh", import.meta.url);
/** Where each shell looks for completions, below a prefix's share/. */
const COMPLETION_FILES = { bash: "op-dbus.bash", zsh: "_op-dbus", fish: "op-dbus.fish" };

const PACKAGING = new URL("../../packaging/", import.meta.url).pathname;
const PACKAGED = ["systemd", "dbus"];

/** `op-dbus-linux-x86_64`: the executable as it is published. */
export function publishedName(arch: Arch): string {
  return `op-dbus-linux-${arch}`;
}

/**
 * @param dist folder of the executable
 * @param denoSha256 digest of the runtime inside
 */
export async function publish(
  dist: string,
  built: Built,
  arch: Arch,
  denoSha256: string,
  release: Release,
): Promise<void> {
  await Deno.writeTextFile(
    `${dist}/${publishedName(arch)}.cdx.json`,
    await billOfMaterials(built, arch, denoSha256),
  );
  await emptyFolder(`${dist}/man`);
  for (const { file, text } of manPages(commandTree(await loadRoutes()), built.version)) {
    await Deno.writeTextFile(`${dist}/man/${file}`, text);
  }
  await emptyFolder(`${dist}/completions`);
  for (const shell of SHELLS) {
    const path = `${dist}/completions/${COMPLETION_FILES[shell]}`;
    await Deno.writeTextFile(path, completionScript(shell));
  }
  for (const folder of PACKAGED) {
    await emptyFolder(`${dist}/${folder}`);
    for (const { name } of Deno.readDirSync(PACKAGING + folder)) {
      await Deno.copyFile(`${PACKAGING}${folder}/${name}`, `${dist}/${folder}/${name}`);
    }
  }
  const installer = fillIn(await Deno.readTextFile(INSTALLER), {
    "@RELEASE_URL@": release.url,
    "@RELEASE_KEY@": release.key,
  });
  await Deno.writeTextFile(`${dist}/install.sh`, installer, { mode: 0o755 });
  await writeSums(dist);
}

/** Pages of commands that are gone must not stay. */
async function emptyFolder(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(path);
}

/** What SHA256SUMS covers, as paths from dist/. */
function publishedFiles(dist: string): string[] {
  const listed = (folder: string) =>
    [...Deno.readDirSync(`${dist}/${folder}`)].map(({ name }) => `${folder}/${name}`);
  const top = [...Deno.readDirSync(dist)].map(({ name }) => name)
    .filter((name) => name.startsWith("op-dbus-linux-") || name === "install.sh");
  const folders = ["man", "completions", ...PACKAGED];
  return [...top, ...folders.flatMap(listed)].sort();
}

async function writeSums(dist: string): Promise<void> {
  const lines = await Promise.all(
    publishedFiles(dist).map(async (name) => {
      const bytes = await Deno.readFile(`${dist}/${name}`);
      return `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`;
    }),
  );
  await Deno.writeTextFile(`${dist}/SHA256SUMS`, lines.join(""));
}

/**
 * Signs SHA256SUMS. The trusted comment binds the version, so that an old release cannot
 * be shown as a new one.
 */
export async function signSums(
  dist: string,
  version: string,
  key: SecretKey,
): Promise<void> {
  const comment = `timestamp:${signingTime()}\tfile:SHA256SUMS\tversion:${version}`;
  const digests = digestBytes(await Deno.readFile(`${dist}/SHA256SUMS`));
  const signature = formatSignature(signDigests(digests, key, comment));
  await Deno.writeTextFile(`${dist}/SHA256SUMS.minisig`, signature);
}
