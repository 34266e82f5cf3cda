/**
 * kill -9 at every system call that a receive makes: strace counts them once, then kills
 * at the first, the second, ... of each kind. By default at every 5th of them;
 * OPDBUS_CRASH=all kills at each.
 */
import { isReadOnly, openFolder, subvolumeInfoAt } from "../../ffi/btrfs.ts";
import { deleteSubvolume } from "../../ffi/btrfs.ts";
import { listFolder } from "../../ffi/directory.ts";
import { withFd } from "../../ffi/files.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { auditStream } from "../../lib/stream/inspect.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { bytesSource } from "../../lib/stream/source.ts";
import { cleanReceives } from "../../lib/stream/staging.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { make, stream } from "../support/stream_builder.ts";

const EVERY = Deno.env.get("OPDBUS_CRASH") === "all" ? 1 : 5;
const CHILD = new URL("./stream_receive_child.ts", import.meta.url).pathname;
/** Everything that changes a disk, and the openings in between. */
const CALLS = [
  ...["mkdirat", "openat2", "renameat2", "pwrite64", "symlinkat", "linkat", "unlinkat"],
  ...["fchown", "fchownat", "fchmod", "fchmodat", "ftruncate", "utimensat", "flock"],
  ...["fsetxattr", "lsetxattr", "lremovexattr", "ioctl", "syncfs", "fsync", "getdents64"],
];

const STREAM = stream(
  make.chmod("", 0o755),
  make.mkfile("o1"),
  make.rename("o1", "f"),
  make.write("f", 0, new Uint8Array(10_000).fill(65)),
  make.chown("f", 0, 0),
  make.chmod("f", 0o644),
  make.utimes("f", 5),
  make.mkdir("d"),
  make.chmod("d", 0o755),
  make.link("d/hard", "f"),
  make.symlink("d/l", "../f"),
  make.setXattr("d", "user.k", "v"),
  make.clone("f", 12_288, 4096, "f", 0),
  make.truncate("f", 14_000),
  make.utimes("", 6),
);

function strace(args: string[], file: string, folder: string, kind: string) {
  const run = [Deno.execPath(), "run", "-A", CHILD, file, folder, kind];
  return new Deno.Command("strace", {
    args: ["-f", ...args, ...run],
    stdout: "null",
    stderr: "null",
  }).output();
}

/** How often each call is made where strace counts it: on one thread. */
async function countCalls(file: string, folder: string, kind: string, log: string) {
  await strace(["-o", log, "-e", `trace=${CALLS.join()}`], file, folder, kind);
  const lines = (await Deno.readTextFile(log)).split("\n");
  const main = lines[0]!.split(" ")[0];
  const counts = new Map<string, number>();
  for (const line of lines) {
    const [, thread, call] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    // The sync runs on a thread of its own.
    if (!call || (thread !== main && call !== "syncfs")) continue;
    counts.set(call, (counts.get(call) ?? 0) + 1);
  }
  return counts;
}

const names = (folder: string) =>
  listFolder(folder).map(({ name }) => new TextDecoder().decode(name)).sort();

async function checkAfter(
  folder: string,
  kind: string,
  digest: string,
): Promise<boolean> {
  cleanReceives(folder);
  const found = names(folder), done = found.length > 0;
  assertEquals(found, done ? ["tree"] : []);
  const path = `${folder}/tree`;
  if (!done) {
    await receiveStream(bytesSource(STREAM), { folder, plain: kind === "plain" });
  }
  assertEquals(digestOfFolder(path), digest);
  assertEquals(names(folder), ["tree"]);
  if (kind === "plain") {
    await Deno.remove(path, { recursive: true });
    return done;
  }
  assertEquals(withFd(openFolder(path), isReadOnly), true);
  assertEquals(subvolumeInfoAt(path).receivedUuid?.slice(0, 8), "01020304");
  withFd(openFolder(folder), (fd) => deleteSubvolume(fd, "tree"));
  return done;
}

async function killEverywhere(folder: string, kind: string): Promise<void> {
  await using scratch = await tempFolder();
  const file = `${scratch.path}/stream`, log = `${scratch.path}/log`;
  await Deno.writeFile(file, STREAM);
  const digest = (await auditStream(bytesSource(STREAM))).digest!;
  // A first run compiles the sources, and would be counted with the files it writes.
  await sh(Deno.execPath(), "run", "-A", CHILD, file, folder, kind);
  assertEquals(await checkAfter(folder, kind, digest), true);
  const counts = await countCalls(file, folder, kind, log);
  assertEquals(await checkAfter(folder, kind, digest), true);
  for (const call of kind === "plain" ? ["mkdirat", "renameat2"] : ["ioctl", "syncfs"]) {
    assertTrue((counts.get(call) ?? 0) > 0, `strace saw no ${call}`);
  }
  let point = 0, killed = 0;
  for (const [call, count] of counts) {
    for (let when = 1; when <= count; when++) {
      if (point++ % EVERY !== 0) continue;
      const inject = `inject=${call}:signal=KILL:when=${when}`;
      const { success } = await strace(
        ["-o", "/dev/null", "-e", `trace=${call}`, "-e", inject],
        file,
        folder,
        kind,
      );
      if (!success) killed++;
      try {
        await checkAfter(folder, kind, digest);
      } catch (error) {
        throw new Error(`killed at ${call} ${when}`, { cause: error });
      }
    }
  }
  assertTrue(killed > point / EVERY / 2, `only ${killed} of ${point} runs were killed`);
}

Deno.test("killed anywhere on a plain folder: all or nothing", async () => {
  await using there = await tempFolder();
  await killEverywhere(there.path, "plain");
});

platformTest("killed anywhere on btrfs: all or nothing", async () => {
  await using fs = await btrfsScratch();
  await Deno.mkdir(`${fs.path}/in`);
  await killEverywhere(`${fs.path}/in`, "btrfs");
});

platformTest(
  "what the kernel shows of a killed receive is tidied by the next",
  async () => {
    await using fs = await btrfsScratch();
    await sh("btrfs", "subvolume", "create", `${fs.path}/.op-dbus-receive-1-dead`);
    await sh(
      "btrfs",
      "property",
      "set",
      `${fs.path}/.op-dbus-receive-1-dead`,
      "ro",
      "true",
    );
    await receiveStream(bytesSource(STREAM), { folder: fs.path });
    assertEquals(names(fs.path), ["tree"]);
  },
);
