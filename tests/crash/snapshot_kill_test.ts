/**
 * kill -9 at the syscalls that rotate, restore, send and receive make: strace kills the
 * process at the n-th of them, for n = 1, 2, ... until it ends by itself. After each kill
 * the invariants hold, and the next run mends what is left. OPDBUS_TEST_FULL=1 takes every
 * n; without it a few of them.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, canMountBtrfs, sh } from "../support/scratch.ts";
import { type TestRoot, testRoot } from "../support/root.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";

const FULL = Deno.env.get("OPDBUS_TEST_FULL") === "1";
/** How many of the kill points a normal run takes, about. */
const POINTS = 10;
/** More syscalls than any of them makes. */
const MAX_CALLS = 3000;
const CALLS = "ioctl,rename,renameat2,unlinkat,mkdirat,fsync,fdatasync,syncfs,write," +
  "pwrite64,ftruncate,flock,fchmod,fchownat,utimensat,fsetxattr,linkat,symlinkat,openat2";
const CHILD = new URL("./snapshot_child.ts", import.meta.url).pathname;

function hasStrace(): boolean {
  try {
    return new Deno.Command("strace", { args: ["-V"], stdout: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

function crashTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, ignore: !canMountBtrfs() || !hasStrace() });
}

async function child(strace: readonly string[], args: readonly string[]) {
  const command = [...strace, Deno.execPath(), "run", "-A", "--no-check", CHILD, ...args];
  const { signal, code, stderr } = await new Deno.Command(command[0]!, {
    args: command.slice(1),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  return { killed: signal === "SIGKILL" || code === 137, code, stderr };
}

/** Runs it, killed at its n-th call. @returns whether it was killed */
async function killedAt(n: number, args: readonly string[]): Promise<boolean> {
  const inject = `inject=${CALLS}:signal=SIGKILL:when=${n}`;
  const strace = [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    `trace=${CALLS}`,
    "-e",
    inject,
  ];
  const { killed, code, stderr } = await child(strace, args);
  if (!killed && code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return killed;
}

async function finishes(args: readonly string[]): Promise<void> {
  const { code, stderr } = await child([], args);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

/** How many of the calls a whole run makes in its busiest thread. */
async function countCalls(args: readonly string[], scratch: string): Promise<number> {
  const log = `${scratch}/strace`;
  await child(["strace", "-ff", "-qq", "-o", log, "-e", `trace=${CALLS}`], args);
  let most = 0;
  for await (const { name } of Deno.readDir(scratch)) {
    if (!name.startsWith("strace.")) continue;
    const text = await Deno.readTextFile(`${scratch}/${name}`);
    most = Math.max(most, text.split("\n").length - 1);
    await Deno.remove(`${scratch}/${name}`);
  }
  return Math.min(most, MAX_CALLS);
}

/** The kill points of a run: all, or some spread over it, the last ones among them. */
function points(count: number): number[] {
  const step = FULL ? 1 : Math.max(1, Math.floor(count / POINTS));
  const some: number[] = [];
  for (let n = count; n > 0; n -= step) some.unshift(n);
  return some;
}

/** Names under the root and a folder that only a running op-dbus may have there. */
async function leftovers(...folders: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for await (const { name } of Deno.readDir(folder)) {
      if (/^\.(tmp-|op-dbus-receive-)/.test(name)) found.push(`${folder}/${name}`);
    }
  }
  return found;
}

const state = (root: TestRoot) => root.target("state");
const names = (root: TestRoot) => listFound(state(root)).map(({ name }) => name);

crashTest("rotate, killed at each call: the newest four are always there", async () => {
  await using root = await testRoot();
  const { path, folder } = state(root), args = ["rotate", root.layout.root, ""];
  await Deno.writeTextFile(`${path}/note`, "live");
  for (let i = 0; i < 5; i++) await finishes(args);
  for (const n of points(await countCalls(args, root.mount))) {
    const before = names(root);
    await killedAt(n, args);
    const after = names(root);
    const wanted = [...new Set([...before, ...after])].sort().slice(-4);
    assertEquals(wanted.filter((name) => !after.includes(name)), [], `call ${n}`);
    for (const { path } of listFound(state(root))) {
      assertEquals(await Deno.readTextFile(`${path}/note`), "live");
    }
    assertEquals(await Deno.readTextFile(`${path}/note`), "live");
    await finishes(args);
    assertEquals(names(root).length, 4, `call ${n}`);
    assertEquals(await leftovers(root.layout.root, folder), [], `call ${n}`);
  }
});

crashTest(
  "restore, killed at each call: live is old or new, nothing is lost",
  async () => {
    await using root = await testRoot();
    const { path, folder } = state(root), note = `${path}/note`;
    await Deno.writeTextFile(note, "wanted");
    const { name } = await createSnapshot(state(root), { nowMs: Date.now() - 3_600_000 });
    const args = ["restore", root.layout.root, name];
    const calls = await countCalls(args, root.mount);
    for (const n of points(calls)) {
      await Deno.writeTextFile(note, `live ${n}`);
      await killedAt(n, args);
      const live = await Deno.readTextFile(note);
      assertTrue(live === "wanted" || live === `live ${n}`, `call ${n}: ${live}`);
      await finishes(args);
      assertEquals(await Deno.readTextFile(note), "wanted", `call ${n}`);
      const kept = await Promise.all(
        listFound(state(root)).map(({ path }) => Deno.readTextFile(`${path}/note`)),
      );
      assertTrue(kept.includes(`live ${n}`), `call ${n}: what was live is lost`);
      assertEquals(await leftovers(root.layout.root, folder), [], `call ${n}`);
      assertEquals(listFound(state(root)).filter(({ problem }) => problem !== null), []);
    }
  },
);

crashTest(
  "send and receive, killed at each call: the next run brings all over",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const { path, folder } = state(root), away = `${disk.path}/away`;
    const args = ["replicate", root.layout.root, away];
    for (let i = 0; i < 6; i++) await Deno.writeTextFile(`${path}/f${i}`, `content ${i}`);
    await finishes(args);
    await Deno.writeTextFile(`${path}/counted`, "counted");
    for (const n of points(await countCalls(args, root.mount))) {
      await Deno.writeTextFile(`${path}/f${n % 6}`, `changed at ${n}`);
      await killedAt(n, args);
      for (const remote of listReplicas(away)) {
        const visible = !remote.name.startsWith(".");
        assertTrue(
          !visible || (remote.readOnly && remote.receivedUuid !== null),
          remote.name,
        );
      }
      await finishes(args);
      const newest = listFound(state(root)).at(-1)!;
      const there = listReplicas(away).find((remote) => remote.name === newest.name);
      assertEquals(there?.receivedUuid, newest.info.uuid, `call ${n}`);
      assertEquals(
        await digestOfFolder(`${away}/${newest.name}`),
        await digestOfFolder(newest.path),
      );
      assertEquals(await leftovers(root.layout.root, folder, away), [], `call ${n}`);
    }
  },
);

crashTest(
  "send to a file, killed at each call: whole under its name, or not there",
  async () => {
    await using root = await testRoot();
    const { path } = state(root), file = `${root.mount}/stream`;
    await Deno.writeFile(`${path}/data`, crypto.getRandomValues(new Uint8Array(60_000)));
    await createSnapshot(state(root));
    const args = ["file", root.layout.root, file];
    await finishes(args);
    const whole = await Deno.readFile(file);
    for (const n of points(await countCalls(args, root.mount))) {
      await Deno.remove(file);
      if (await killedAt(n, args)) {
        const there = await Deno.readFile(file).catch(() => null);
        assertTrue(there === null || there.length === whole.length, `call ${n}`);
      }
      await finishes(args);
      assertEquals(await Deno.readFile(file), whole, `call ${n}`);
      assertEquals(
        await sh("sh", "-c", `ls ${root.mount}/*.part 2>/dev/null || true`),
        "",
      );
    }
  },
);
