/** The executable under test, and small stand-ins for its heavy inside. */
import { writeSelfExtracting } from "../../scripts/release/self_extracting.ts";
import type { Arch } from "../../scripts/release/build.ts";

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
echo "ran as $(id -u) with $last"
env
`;

/**
 * A file with the real header and a tiny runtime, so that hundreds of ways to break it can
 * be tried.
 */
export async function smallExecutable(
  folder: string,
  runtime = SMALL_RUNTIME,
): Promise<string> {
  const app = `${folder}/app`;
  await Deno.mkdir(app, { recursive: true });
  await Deno.writeTextFile(`${app}/app.js`, "// nothing\n");
  const path = `${folder}/op-dbus`;
  await writeSelfExtracting(
    { folder: app, assets: [], version: "0.0.0", commit: null },
    Deno.build.arch as Arch,
    new TextEncoder().encode(runtime),
    path,
  );
  return path;
}
