/** What goes into the executable: the bundle of the program and the files it reads. */

const REPO = new URL("../../", import.meta.url).pathname;

/** Name of the program's bundle, inside the executable and beside it. */
export const MAIN = "app.js";

/** Optional native parts of dbus-next that are never there; it works without them. */
const EXTERNAL = ["x11", "usocket", "debug"];

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

/** Where the pieces are, before they become one file. */
export interface Built {
  /** Folder that holds {@link MAIN} and the assets. */
  readonly folder: string;
  /** Names of the assets in it, sorted. */
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

/** Bundles main.ts and collects the assets in `folder`, which is made. */
export async function build(folder: string): Promise<Built> {
  await Deno.mkdir(folder, { recursive: true });
  const path = `${folder}/${MAIN}`;
  await output(Deno.execPath(), [
    // Names are kept: @stricli/core chooses its messages by an error's class name.
    ...["bundle", "--quiet", "--minify", "--keep-names"],
    ...EXTERNAL.flatMap((name) => ["--external", name]),
    ...["-o", path, "main.ts"],
  ]);
  const commit = await commitOf();
  const code = await Deno.readTextFile(path);
  const leaked = code.includes(REPO);
  if (leaked) throw new Error(`The bundle contains the builder's path ${REPO}`);
  const stamped = code.replaceAll("@COMMIT@", commit ?? "@COMMIT@");
  await Deno.writeTextFile(path, REQUIRE + stamped);
  return { folder, assets: [], version: await projectVersion(), commit };
}

async function projectVersion(): Promise<string> {
  const { version } = JSON.parse(await Deno.readTextFile(`${REPO}deno.json`));
  return version;
}
