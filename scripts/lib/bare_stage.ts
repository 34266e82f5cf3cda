/**
 * Where the command line's tests run the executable: in a root with libc and Debian's
 * essential programs only. The tests themselves stay outside and see the same temporary
 * folder, mounts below it included; all is in a mount namespace that ends with them.
 */
import { copyInto, copyProgram, fillBareRoot } from "./bare_root.ts";

/** The one program that op-dbus starts by itself: `init --loopback` formats with it. */
const MKFS = "/sbin/mkfs.btrfs";

/** So that the root is one of a host with a service that the documents' plugin is for. */
const DBUS_SERVICE =
  "/usr/share/dbus-1/system-services/org.freedesktop.hostname1.service";

/** How to run a program so that the executable below is in the bare root. */
export interface BareStage {
  /** Goes before the command of the tests. */
  readonly enter: readonly string[];
  /** The environment of the tests. */
  readonly env: Readonly<Record<string, string>>;
}

/** $S folder of the stage, $R the root, $T the tests' TMPDIR, $C the checkout. */
const ENTER = `set -e
S=$1 C=$2 R=$1/root T=$1/tmp; shift 2
mkdir -p "$R$T" "$R$C" "$R/sys" "$R/root"
mount --bind "$T" "$T"
mount --make-shared "$T"
mount --bind "$T" "$R$T"
mount --bind "$C" "$R$C"
mount -t proc proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
exec "$@"
`;

/** Stands for the executable: goes into the root and to the folder that it was called in. */
function wrapper(root: string, executable: string): string {
  return `#!/bin/sh
exec /usr/sbin/chroot '${root}' /bin/sh -c 'cd "$0" && exec ${executable} "$@"' "$PWD" "$@"
`;
}

/**
 * @param folder an empty one, for the root and the tests' temporary files
 * @param repo the checkout, which the root shows at the same path
 * @param executable the file, inside the checkout
 */
export async function makeBareStage(
  folder: string,
  repo: string,
  executable: string,
): Promise<BareStage> {
  const root = `${folder}/root`, temporary = `${folder}/tmp`;
  for (const path of [root, temporary]) await Deno.mkdir(path);
  await Deno.chmod(temporary, 0o711);
  await fillBareRoot(root, "debian");
  await copyProgram(root, MKFS);
  await copyInto(root, DBUS_SERVICE);
  const program = `${temporary}/op-dbus`;
  await Deno.writeTextFile(program, wrapper(root, executable), { mode: 0o755 });
  return {
    enter: [
      ...["/usr/bin/unshare", "--mount", "--propagation", "private"],
      ...["/bin/sh", "-c", ENTER, "sh", folder, repo.replace(/\/$/, "")],
    ],
    env: { TMPDIR: temporary, OPDBUS_TEST_EXE: program, OPDBUS_TEST_BARE: "1" },
  };
}
