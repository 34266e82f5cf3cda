/**
 * kill -9 at the syscalls that rotate, restore, send and receive make: strace kills the
 * process at the n-th ioctl, at the n-th fsync, ... for each n and each call that a whole
 * run makes. After each kill the invariants hold, and the next run mends what is left.
 * OPDBUS_TEST_FULL=1 takes every point, =3/8 a part of them; without it some, spread
 * evenly.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, sh } from "../support/scratch.ts";
import { type TestRoot, testRoot } from "../support/root.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { crashTest, finishes, killedAt, leftovers, pointsOf } from "./strace_kill.ts";

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
      for (const { name, readOnly, receivedUuid } of listReplicas(away)) {
        assertTrue(readOnly && receivedUuid !== null, name);
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
