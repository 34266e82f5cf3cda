/**
 * kill -9 at the syscalls that rotate, restore, send and receive make: strace kills the
 * process at the n-th ioctl, at the n-th fsync, ... for each n and each call that a whole
 * run makes. After each kill the invariants hold, and the next run mends what is left.
 * OPDBUS_TEST_FULL=1 takes every point; without it some, spread evenly.
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
/** The calls that change a file system, or decide what is changed. */
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

/** The n-th call of one kind that a thread makes. */
interface Point {
  readonly call: string;
  readonly n: number;
}

/** Runs it, killed at a point. @returns whether it was killed */
async function killedAt({ call, n }: Point, args: readonly string[]): Promise<boolean> {
  const inject = `inject=${call}:signal=SIGKILL:when=${n}`;
  const strace = [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    `trace=${call}`,
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

/** Every point of a whole run, by what its busiest thread does. */
async function pointsOf(args: readonly string[], scratch: string): Promise<Point[]> {
  const log = `${scratch}/strace`, most = new Map<string, number>();
  await child(["strace", "-ff", "-qq", "-o", log, "-e", `trace=${CALLS}`], args);
  for await (const { name } of Deno.readDir(scratch)) {
    if (!name.startsWith("strace.")) continue;
    const text = await Deno.readTextFile(`${scratch}/${name}`);
    await Deno.remove(`${scratch}/${name}`);
    const calls = text.split("\n").map((line) => line.split("(")[0]!).filter(Boolean);
    for (const [call, all] of Object.entries(Object.groupBy(calls, (call) => call))) {
      most.set(call, Math.max(most.get(call) ?? 0, all!.length));
    }
  }
  const points = [...most].sort().flatMap(([call, count]) =>
    Array.from({ length: count }, (_, i): Point => ({ call, n: i + 1 }))
  );
  const step = FULL ? 1 : Math.max(1, Math.floor(points.length / POINTS));
  return points.filter((_, i) => i % step === 0);
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
  for (const point of await pointsOf(args, root.mount)) {
    const at = `${point.call} ${point.n}`;
    const before = names(root);
    await killedAt(point, args);
    const after = names(root);
    const wanted = [...new Set([...before, ...after])].sort().slice(-4);
    assertEquals(wanted.filter((name) => !after.includes(name)), [], at);
    for (const { path } of listFound(state(root))) {
      assertEquals(await Deno.readTextFile(`${path}/note`), "live");
    }
    assertEquals(await Deno.readTextFile(`${path}/note`), "live");
    await finishes(args);
    assertEquals(names(root).length, 4, at);
    assertEquals(await leftovers(root.layout.root, folder), [], at);
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
    for (const point of await pointsOf(args, root.mount)) {
      const at = `${point.call} ${point.n}`;
      await Deno.writeTextFile(note, `live ${at}`);
      await killedAt(point, args);
      const live = await Deno.readTextFile(note);
      assertTrue(live === "wanted" || live === `live ${at}`, `${at}: ${live}`);
      await finishes(args);
      assertEquals(await Deno.readTextFile(note), "wanted", at);
      const kept = await Promise.all(
        listFound(state(root)).map(({ path }) => Deno.readTextFile(`${path}/note`)),
      );
      assertTrue(kept.includes(`live ${at}`), `${at}: what was live is lost`);
      assertEquals(await leftovers(root.layout.root, folder), [], at);
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
    for (const point of await pointsOf(args, root.mount)) {
      const at = `${point.call} ${point.n}`;
      await Deno.writeTextFile(`${path}/f${point.n % 6}`, `changed at ${at}`);
      await killedAt(point, args);
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
      assertEquals(there?.receivedUuid, newest.info.uuid, at);
      assertEquals(
        await digestOfFolder(`${away}/${newest.name}`),
        await digestOfFolder(newest.path),
      );
      assertEquals(await leftovers(root.layout.root, folder, away), [], at);
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
    for (const point of await pointsOf(args, root.mount)) {
      const at = `${point.call} ${point.n}`;
      await Deno.remove(file);
      if (await killedAt(point, args)) {
        const there = await Deno.readFile(file).catch(() => null);
        assertTrue(there === null || there.length === whole.length, at);
      }
      await finishes(args);
      assertEquals(await Deno.readFile(file), whole, at);
      assertEquals(
        await sh("sh", "-c", `ls ${root.mount}/*.part 2>/dev/null || true`),
        "",
      );
    }
  },
);
