/**
 * A root folder with libc and the few programs that every Debian has, and nothing else:
 * no deno, no node, no certificates, no passwd entry but root's.
 */
import { output } from "../release/build.ts";

/** From dash, coreutils, findutils, grep and gzip: Debian's essential set. */
const ESSENTIAL = [
  ...["sh", "cat", "chmod", "cut", "env", "find", "grep", "gzip", "head", "id", "ls"],
  ...["mkdir", "mktemp", "mv", "rm", "sha256sum", "sync", "tail", "uname", "wc", "sleep"],
  ...["true"],
];
/** Beside libc: what any C++ or Rust program needs. */
const LIBRARIES = ["libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"];

/**
 * Makes the folders of a root and copies into it what it shall hold.
 *
 * @param path an empty folder
 * @param shell `debian` for the essential programs, `busybox` for one static busybox
 */
export async function fillBareRoot(
  path: string,
  shell: "debian" | "busybox",
): Promise<void> {
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
}

/** Copies a file of this machine into a root, folders made as needed. */
export async function copyInto(root: string, file: string, target = file): Promise<void> {
  const path = root + target;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(await Deno.realPath(file), path);
}

/** Copies a program and the libraries that it names. */
export async function copyProgram(
  root: string,
  file: string,
  target = file,
): Promise<void> {
  for (const library of await librariesOf(file)) await copyInto(root, library);
  await copyInto(root, file, target);
}

/** The libraries that a program names, where the dynamic linker finds them. */
async function librariesOf(program: string): Promise<string[]> {
  const listing = await output("ldd", [program]);
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
    const program =
      (await output("sh", ["-c", `command -v ${name} || echo /bin/${name}`]))
        .trim();
    const file = program.startsWith("/") ? program : `/bin/${name}`;
    await copyProgram(root, file, `/bin/${name}`);
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
  return (await output("/bin/busybox", ["--list"])).split("\n").filter(Boolean);
}
