/** The executable under test, and small stand-ins for its heavy inside. */
import { gunzipSync } from "node:zlib";
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
 * Puts a file with the real header and a tiny runtime at /op-dbus of a folder, so that hundreds of
 * ways to break it can be tried.
 */
export async function withSmallExecutable(
  root: { readonly path: string },
  runtime = SMALL_RUNTIME,
  arch = Deno.build.arch as Arch,
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
    arch,
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

/** What a self-extracting file holds, taken apart by the offsets in its own header. */
export interface Unpacked {
  /** Path of the runtime. */
  readonly runtime: string;
  /** Path of the program. */
  readonly main: string;
  /** Arguments of the runtime that go before the program. */
  readonly flags: readonly string[];
}

/** Unpacks a file of any architecture into `folder`, without running it. */
export async function unpackWithoutRunning(
  path: string,
  folder: string,
): Promise<Unpacked> {
  const file = await Deno.readFile(path);
  const text = new TextDecoder("latin1").decode(file.subarray(0, 1 << 16));
  const value = (pattern: RegExp) => {
    const found = text.match(pattern)?.[1];
    if (found === undefined) throw new Error(`${path}: its header has no ${pattern}`);
    return found;
  };
  const member = (name: string) => {
    const [first = 0, bytes = 0] = value(new RegExp(`\\b${name}='(\\d+ \\d+)'`)).split(
      " ",
    )
      .map(Number);
    return gunzipSync(file.subarray(first - 1, first - 1 + bytes));
  };
  const [runtime, ...parts] = value(/^parts='([^']+)'/m).split("\n")
    .map((line) => line.split(" "));
  await Deno.mkdir(`${folder}/app`, { recursive: true });
  await Deno.writeFile(`${folder}/${runtime![0]}`, member("runtime"), { mode: 0o755 });
  const pack = member("pack");
  let at = 0;
  for (const [name, size] of parts) {
    await Deno.writeFile(`${folder}/${name}`, pack.subarray(at, at += Number(size)));
  }
  return {
    runtime: `${folder}/${runtime![0]}`,
    main: `${folder}/${value(/"\$dir\/(app\/main\.js)" "\$@"/)}`,
    flags: value(/exec "\$dir\/\$app" (run [^"]+) "/).replaceAll("\\\n", " ").split(
      /\s+/,
    ),
  };
}
