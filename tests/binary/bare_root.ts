/**
 * A root folder with libc and the few programs that every Debian has, and nothing else:
 * no deno, no node, no certificates, no passwd entry but root's. Programs run in it by
 * chroot inside a mount namespace of their own, so no mount outlives a run.
 */
import { effectiveUid } from "../../ffi/files.ts";
import { type Scratch, sh, tempFolder } from "../support/scratch.ts";

/** From dash, coreutils, findutils, grep and gzip: Debian's essential set. */
const ESSENTIAL = [
  ...["sh", "cat", "chmod", "cut", "env", "find", "grep", "gzip", "head", "id", "ls"],
  ...["mkdir", "mktemp", "mv", "rm", "sha256sum", "sync", "tail", "uname", "wc", "sleep"],
  ...["true"],
];
/** Beside libc: what any C++ or Rust program needs. */
const LIBRARIES = ["libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"];

/** What a program in the root gave. */
export interface BareResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run it. */
export interface BareOptions {
  /** User and group number; 0 by default. */
  readonly uid?: number;
  /** The whole environment; empty by default. */
  readonly env?: Readonly<Record<string, string>>;
  /** Shell commands before the chroot, with $R the root: mounts that the run shall see. */
  readonly prepare?: string;
}

/** The root; gone when the test ends. */
export interface BareRoot extends Scratch {
  run(args: readonly string[], options?: BareOptions): Promise<BareResult>;
}

const ENTER = `set -e
mount -t proc proc "$R/proc"
for node in null zero urandom; do mount --bind "/dev/$node" "$R/dev/$node"; done
`;

/** A test in such a root; skipped without root, which chroot and mount need. */
export function rootTest(
  name: string,
  shell: "debian" | "busybox",
  fn: (root: BareRoot) => Promise<void>,
): void {
  Deno.test({
    name,
    ignore: effectiveUid() !== 0,
    async fn() {
      await using root = await bareRoot(shell);
      await fn(root);
    },
  });
}

/** @param shell `debian` for the essential programs, `busybox` for one static busybox */
export async function bareRoot(
  shell: "debian" | "busybox" = "debian",
): Promise<BareRoot> {
  const scratch = await tempFolder("op-dbus-root-");
  const { path } = scratch;
  await Deno.chmod(path, 0o755);
  for (const folder of ["bin", "dev", "etc", "proc", "run", "var/cache", "var/lib"]) {
    await Deno.mkdir(`${path}/${folder}`, { recursive: true });
  }
  for (const folder of ["tmp", "var/tmp"]) {
    await Deno.mkdir(`${path}/${folder}`);
    await Deno.chmod(`${path}/${folder}`, 0o1777);
  }
  for (const node of ["null", "zero", "urandom"]) {
    await Deno.writeTextFile(`${path}/dev/${node}`, "");
  }
  await Deno.writeTextFile(`${path}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  await copyLibraries(path);
  await (shell === "busybox" ? copyBusybox(path) : copyEssential(path));
  const run = (args: readonly string[], options: BareOptions = {}) =>
    runIn(path, args, options);
  return { ...scratch, run };
}

async function runIn(
  root: string,
  args: readonly string[],
  { uid = 0, env = {}, prepare = "" }: BareOptions,
): Promise<BareResult> {
  const script = `R=$1 U=$2; shift 2\n${ENTER}${prepare}\n` +
    'exec chroot --userspec="$U:$U" --groups="" "$R" "$@"';
  const { code, stdout, stderr } = await new Deno.Command("/usr/bin/unshare", {
    args: [
      ...["--mount", "--", "/bin/sh", "-c", script, "sh", root, `${uid}`],
      ...[
        "/bin/env",
        "-i",
        ...Object.entries(env).map((pair) => pair.join("=")),
        ...args,
      ],
    ],
    clearEnv: true,
    cwd: "/",
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Copies a file of this machine into a root, folders made as needed. */
export async function copyInto(root: string, file: string, target = file): Promise<void> {
  const path = root + target;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(await Deno.realPath(file), path);
}

/** The libraries that a program names, where the dynamic linker finds them. */
async function librariesOf(program: string): Promise<string[]> {
  const listing = await sh("ldd", program);
  return [...listing.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!);
}

async function copyLibraries(root: string): Promise<void> {
  const wanted = new Set(await librariesOf(Deno.execPath()));
  const libc = [...wanted].find((path) => path.includes("libc.so"))!;
  for (const name of LIBRARIES) wanted.add(libc.replace(/[^/]+$/, name));
  for (const library of wanted) await copyInto(root, library);
}

async function copyEssential(root: string): Promise<void> {
  for (const name of ESSENTIAL) {
    const program = (await sh("sh", "-c", `command -v ${name} || echo /bin/${name}`))
      .trim();
    const file = program.startsWith("/") ? program : `/bin/${name}`;
    for (const library of await librariesOf(file)) await copyInto(root, library);
    await copyInto(root, file, `/bin/${name}`);
  }
}

async function copyBusybox(root: string): Promise<void> {
  await copyInto(root, "/bin/busybox");
  for (const name of await busyboxApplets()) {
    await Deno.symlink("busybox", `${root}/bin/${name}`).catch((error) => {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    });
  }
}

async function busyboxApplets(): Promise<string[]> {
  return (await sh("/bin/busybox", "--list")).split("\n").filter(Boolean);
}
