/**
 * Places for tests to work in: plain folders and real, loop-mounted btrfs. All of them
 * lie under $TMPDIR and clean up after themselves; scripts/test unmounts what a killed
 * run left there.
 */
import { effectiveUid } from "../../ffi/files.ts";

/** A folder that is gone when the test ends. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/** A plain temporary folder (whatever file system $TMPDIR is on). */
export async function tempFolder(prefix = "op-dbus-"): Promise<Scratch> {
  const path = await Deno.makeTempDir({ prefix });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Runs a command for a test's own needs; throws with its stderr when it fails. */
export async function sh(command: string, ...args: string[]): Promise<string> {
  const out = await new Deno.Command(command, { args, stdin: "null" }).output();
  const text = new TextDecoder();
  if (!out.success) {
    throw new Error(`${command} ${args.join(" ")}: ${text.decode(out.stderr)}`);
  }
  return text.decode(out.stdout);
}

let mountable: boolean | undefined;

/** True where this process may loop-mount a btrfs image. */
export function canMountBtrfs(): boolean {
  if (mountable !== undefined) return mountable;
  if (effectiveUid() !== 0) return mountable = false;
  try {
    Deno.statSync("/dev/loop-control");
    return mountable = new Deno.Command("mkfs.btrfs", { args: ["--version"] })
      .outputSync().success;
  } catch {
    return mountable = false;
  }
}

/**
 * A fresh btrfs on a loop device.
 *
 * @param sizeMb size of the image in MiB; mkfs.btrfs wants about 110 at least
 * @param options mount options, e.g. `compress=zstd`
 * @param mkfsArgs more arguments for mkfs.btrfs, e.g. `--mixed` for small images
 */
export async function btrfsScratch(
  sizeMb = 256,
  options = "",
  mkfsArgs: string[] = [],
): Promise<Scratch & { image: string }> {
  const folder = await Deno.makeTempDir({ prefix: "op-dbus-btrfs-" });
  const image = `${folder}/image`, path = `${folder}/mnt`;
  await Deno.mkdir(path);
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, sizeMb * 1024 * 1024);
  await sh("mkfs.btrfs", "-q", ...mkfsArgs, image);
  await sh("mount", "-o", `loop${options && `,${options}`}`, image, path);
  return {
    path,
    image,
    async [Symbol.asyncDispose]() {
      await sh("umount", "-l", path);
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** A test that needs a real btrfs mount; ignored (and named as skipped) elsewhere. */
export function platformTest(name: string, fn: () => Promise<void> | void): void {
  Deno.test({ name, fn, ignore: !canMountBtrfs() });
}
