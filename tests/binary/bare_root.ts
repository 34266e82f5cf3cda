/**
 * A root folder with libc and the few programs that every Debian has, and nothing else:
 * no deno, no node, no certificates, no passwd entry but root's. Programs run in it by
 * chroot inside a mount namespace of their own, so no mount outlives a run.
 */
import { effectiveUid } from "../../ffi/files.ts";
import { fillBareRoot } from "../../scripts/lib/bare_root.ts";
import { type Scratch, tempFolder } from "../support/scratch.ts";

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
  await fillBareRoot(path, shell);
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
