/** The executable under test, and small stand-ins for its heavy inside. */
import { writeSelfExtracting } from "../../scripts/release/self_extracting.ts";
import type { Arch } from "../../scripts/release/build.ts";
import { tempFolder } from "../support/scratch.ts";
import type { BareRoot } from "./bare_root.ts";

const REPO = new URL("../../", import.meta.url).pathname;

/** The file that scripts/test has just compiled. */
export function executable(): string {
  const path = Deno.env.get("OPDBUS_TEST_EXE") ?? `${REPO}dist/op-dbus`;
  try {
    Deno.statSync(path);
  } catch {
    throw new Error(`${path} is missing: deno task compile, or scripts/test binary`);
  }
  return path;
}

/** Prints how it was called: a runtime of a hundred bytes behind the real header. */
const SMALL_RUNTIME = `#!/bin/sh
[ "$1" != --version ] || exit 0
for last; do :; done
echo "ran as $(/bin/id -u) with $last"
/bin/env
`;

/**
 * Puts a file with the real header and a tiny runtime at /op-dbus, so that hundreds of
 * ways to break it can be tried.
 */
export async function withSmallExecutable(
  root: BareRoot,
  runtime = SMALL_RUNTIME,
): Promise<void> {
  await using app = await tempFolder();
  await Deno.writeTextFile(`${app.path}/main.js`, "// nothing\n");
  await Deno.writeTextFile(`${app.path}/asset`, "an asset\n");
  await writeSelfExtracting(
    {
      folder: app.path,
      files: ["main.js", "asset"],
      assets: ["asset"],
      version: "0.0.0",
      commit: null,
    },
    Deno.build.arch as Arch,
    new TextEncoder().encode(runtime),
    `${root.path}/op-dbus`,
  );
}

/** The one folder that a run has unpacked to below `base`, as a path outside the root. */
export function unpackedIn(root: BareRoot, base: string): string {
  const names = [...Deno.readDirSync(root.path + base)].map(({ name }) => name)
    .filter((name) => /^[0-9a-f]{16}$/.test(name));
  if (names.length !== 1) throw new Error(`${base} holds ${names.length} runtimes`);
  return `${root.path}${base}/${names[0]}`;
}
