/**
 * kill -9 of a receive by itself, and of either end of a replication over ssh: see
 * snapshot_kill_test.ts, which does the same where both ends are one process.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { cliCommand } from "../support/cli.ts";
import { btrfsScratch } from "../support/scratch.ts";
import { hasSshd, testSshd } from "../support/sshd.ts";
import { type TestRoot, testRoot } from "../support/root.ts";
import { deleteSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { close } from "../../ffi/files.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { shellQuote } from "../../lib/snapshot/ssh.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import {
  crashTest,
  finishes,
  killedAt,
  killOptions,
  leftovers,
  logOptions,
  pointsLogged,
  pointsOf,
  runs,
} from "./strace_kill.ts";

const state = (root: TestRoot) => root.target("state");
/** A run over ssh takes seconds. */
const SSH_POINTS = 5;

async function fill(path: string, seed: string): Promise<void> {
  for (let i = 0; i < 4; i++) await Deno.writeTextFile(`${path}/f${i}`, `${seed} ${i}`);
}

/** The newest snapshot is there, equal, and nothing half-made beside it. */
async function assertArrived(root: TestRoot, away: string, at: string): Promise<void> {
  const newest = listFound(state(root)).at(-1)!;
  const there = listReplicas(away).find(({ name }) => name === newest.name);
  assertEquals([there?.receivedUuid, there?.readOnly], [newest.info.uuid, true], at);
  const theirs = await digestOfFolder(`${away}/${newest.name}`);
  assertEquals(theirs, await digestOfFolder(newest.path), at);
  assertEquals(listReplicas(away).filter(({ readOnly }) => !readOnly), [], at);
  assertEquals(await leftovers(root.layout.root, state(root).folder, away), [], at);
}

crashTest("receive, killed at each call: whole and marked, or not there", async () => {
  await using root = await testRoot();
  await using disk = await btrfsScratch();
  const { path } = state(root), away = `${disk.path}/in`;
  await fill(path, "content");
  const { path: snapshot } = await createSnapshot(state(root));
  await sendToFile(snapshot, `${root.layout.root}/stream`);
  const args = ["receive", root.layout.root, away];
  let kills = 0;
  for (const point of await pointsOf(args, root.mount)) {
    const at = `${point.call} ${point.n}`;
    const folder = openFolder(away);
    for (const { name } of listReplicas(away)) deleteSubvolume(folder, name);
    close(folder);
    if (await killedAt(point, args)) kills++;
    const seen = listReplicas(away).filter(({ name }) => !name.startsWith("."));
    assertTrue(seen.every((one) => one.readOnly && one.receivedUuid !== null), at);
    if (seen.length === 0) await finishes(args);
    else await assertArrived(root, away, at);
    await runs(args); // refused, for it is there, but it sweeps up
    await assertArrived(root, away, at);
  }
  assertTrue(kills > 0, "none was killed");
});

crashTest(
  "send over ssh to plain btrfs, killed at each call: the next run brings all over",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    await using sshd = await testSshd();
    const { path } = state(root), away = `${disk.path}/away`;
    const args = ["ssh", root.layout.root, sshd.url + away, sshd.config, "btrfs"];
    await fill(path, "first");
    await finishes(args);
    await Deno.writeTextFile(`${path}/counted`, "counted");
    let kills = 0;
    for (const point of await pointsOf(args, root.mount, SSH_POINTS)) {
      const at = `${point.call} ${point.n}`;
      await fill(path, at);
      if (await killedAt(point, args, true)) kills++;
      await finishes(args);
      await assertArrived(root, away, at);
    }
    assertTrue(kills > 0, "none was killed");
  },
  hasSshd,
);

/** op-dbus as ssh starts it, its receive under strace with the options of a file. */
function tracedReceive(options: string): string {
  const cli = cliCommand().map(shellQuote).join(" ");
  return `#!/bin/sh
case " $* " in
  *" receive "*) exec strace $(cat ${shellQuote(options)}) ${cli} "$@" ;;
esac
exec ${cli} "$@"
`;
}

crashTest(
  "receive over ssh by op-dbus, killed at each call: the next run brings all over",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    await using sshd = await testSshd();
    const { path } = state(root), away = `${disk.path}/away`;
    const command = `${root.mount}/op-dbus`, options = `${root.mount}/options`;
    const trace = (...words: string[]) => Deno.writeTextFile(options, words.join(" "));
    await Deno.writeTextFile(command, tracedReceive(options), { mode: 0o755 });
    const args = ["ssh", root.layout.root, sshd.url + away, sshd.config, command];
    await fill(path, "first");
    await trace("-f", "-o", "/dev/null", "-e", "trace=none");
    await finishes(args);
    await Deno.writeTextFile(`${path}/counted`, "counted");
    await trace(...logOptions(`${root.mount}/strace`));
    await finishes(args);
    for (const point of await pointsLogged(root.mount, SSH_POINTS)) {
      const at = `${point.call} ${point.n}`;
      await fill(path, at);
      await trace(...killOptions(point));
      await runs(args);
      const seen = listReplicas(away).filter(({ name }) => !name.startsWith("."));
      assertTrue(seen.every((one) => one.readOnly && one.receivedUuid !== null), at);
      await trace("-f", "-o", "/dev/null", "-e", "trace=none");
      await finishes(args);
      await assertArrived(root, away, at);
    }
  },
  hasSshd,
);
