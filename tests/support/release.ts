/** A signed release in a folder, for those who install and update. */
import { sh } from "./scratch.ts";
import {
  generateSecretKey,
  type SecretKey,
} from "../../lib/plugin/minisign/secret_key.ts";
import { signSums } from "../../scripts/release/publish.ts";

/** The executable's name in a release for this machine. */
export const RELEASE_NAME = `op-dbus-linux-${Deno.build.arch}`;

/** A program that only knows its version, in the form of `op-dbus version --json`. */
export function versionProgram(version: string): string {
  return `#!/bin/sh\necho '{"version":"${version}"}'\n`;
}

/** Writes `program` as the release `version`, signed; gives the key. */
export async function writeRelease(
  folder: string,
  version: string,
  program: string | Uint8Array,
  key: SecretKey = generateSecretKey(),
): Promise<SecretKey> {
  await Deno.mkdir(folder, { recursive: true });
  const path = `${folder}/${RELEASE_NAME}`;
  await (typeof program === "string"
    ? Deno.writeTextFile(path, program)
    : Deno.writeFile(path, program));
  const sum = (await sh("sha256sum", path)).split(" ")[0];
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, `${sum}  ${RELEASE_NAME}\n`);
  await signSums(folder, version, key);
  return key;
}
