/** Runs that meet: what one has to expect of the others while it waits, sends, deletes. */
import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import { crashTest } from "../crash/strace_kill.ts";
import { LockedError } from "../../lib/base/errors.ts";
import { createSnapshot, createUnlocked, lockTarget } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import type { Replica } from "../../lib/snapshot/replica.ts";
import { folderReplica, listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { replicate } from "../../lib/snapshot/replicate.ts";
import { rotate } from "../../lib/snapshot/rotate.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { discardStale } from "../../lib/snapshot/stale.ts";
import type { Target } from "../../lib/snapshot/target.ts";
import { sendChunks } from "../../lib/stream/send.ts";

const HOUR = 3_600_000;
const NOW = Math.floor(Date.now() / 60_000) * 60_000;
const names = (target: Target) => listFound(target).map(({ name }) => name);
/** The clock has gone on since then. */
const after = (timeMs: number) => {
  while (Date.now() <= timeMs);
};

platformTest(
  "who waited for the lock takes its snapshot's time when it has it",
  async () => {
    await using root = await testRoot();
    const state = root.target("state"), policy = parsePolicy("keep_last=24");
    const lock = await lockTarget(state);
    const waiting = rotate(state, policy, { waitMs: 60_000 });
    after(Date.now());
    const other = await createUnlocked(state);
    lock[Symbol.dispose]();
    const { created } = await waiting;
    assertTrue(created!.timeMs >= other.timeMs, "newer content under an older name");
  },
);

platformTest("pruning goes by the clock after a long send, not before it", async () => {
  await using root = await testRoot();
  await using disk = await btrfsScratch();
  const state = root.target("state");
  const old = await createSnapshot(state, { nowMs: NOW - 2 * HOUR });
  const policy = { ...parsePolicy("keep_last=1"), min_age: 0 };
  const folder = folderReplica(`${disk.path}/backup`);
  let listedMs = 0;
  const slow: Replica = {
    ...folder,
    list(signal) {
      listedMs ||= Date.now();
      return folder.list(signal);
    },
    receive(chunks, what) {
      after(listedMs);
      policy.min_age = Date.now() - old.timeMs; // it comes of age while it is being sent
      return folder.receive(chunks, what);
    },
  };
  const { pruned } = await replicate(state, [slow], { policy });
  assertEquals(pruned!.deleted, [old.name]);
});

platformTest(
  "one that is being sent stays; the rotation goes on, and says so",
  async () => {
    await using root = await testRoot();
    const state = root.target("state"), policy = parsePolicy("keep_last=1");
    const noise = crypto.getRandomValues(new Uint8Array(65536));
    for (let i = 0; i < 64; i++) await Deno.writeFile(`${state.path}/${i}`, noise);
    const made = [];
    for (let i = 3; i > 0; i--) {
      made.push(await createSnapshot(state, { nowMs: NOW - i * HOUR }));
    }
    const chunks = sendChunks(made[0]!.path);
    await chunks.next(); // more than the pipe holds is still to come
    const busy = await rotate(state, policy, { nowMs: NOW });
    assertEquals(busy.deleted, made.slice(1).map(({ name }) => name));
    assertEquals(busy.notes, [`${made[0]!.name} is kept for now: it is being sent`]);
    const [first] = busy.decisions;
    assertEquals([first!.action, first!.reasons[0]!.rule], ["keep", "in_use"]);
    await chunks.return();
    const later = await rotate(state, policy, { nowMs: NOW + HOUR });
    assertTrue(later.deleted.includes(made[0]!.name));
  },
);

platformTest("a target leaves alone what its neighbour is restoring", async () => {
  await using root = await testRoot(
    `[snapshot.targets.home]\npath = "MOUNT/home"\n` +
      `[snapshot.targets.home-2]\npath = "MOUNT/home-2"\n`,
  );
  const beside = `${root.mount}/.tmp-restore-home-2-77`;
  for (const path of [`${root.mount}/home`, `${root.mount}/home-2`, beside]) {
    await sh("btrfs", "subvolume", "create", path);
  }
  assertEquals(discardStale(root.target("home")), []);
  assertEquals(names(root.target("home")), []);
  assertIncludes(discardStale(root.target("home-2"))[0]!, "was removed");
});

/** Opens the same half-made file, and waits there until its name is another's. */
const LATE = `
  import { sendToFile } from ${
  JSON.stringify(new URL("../../lib/snapshot/send_file.ts", import.meta.url).href)
};
  await sendToFile(Deno.args[0], Deno.args[1], { force: true }).catch((error) => {
    console.log(error.code);
  });`;

crashTest("a finished file is not written to by who opened it half-made", async () => {
  await using root = await testRoot();
  const state = root.target("state"), file = `${root.mount}/stream`;
  await Deno.writeTextFile(`${state.path}/note`, "one");
  const one = await createSnapshot(state, { nowMs: NOW - HOUR });
  await Deno.writeTextFile(`${state.path}/note`, "two, and longer");
  const two = await createSnapshot(state, { nowMs: NOW });
  await Deno.writeTextFile(`${root.mount}/late.ts`, LATE);
  // Stopped right after it has opened and locked the part, as if between the two.
  const log = `${root.mount}/strace`;
  const stop = ["-f", "-qq", "-o", log, "-e", "trace=flock"];
  const inject = ["-e", "inject=flock:signal=SIGSTOP:when=1"];
  const run = [Deno.execPath(), "run", "-A", "--no-check", `${root.mount}/late.ts`];
  const late = new Deno.Command("strace", {
    args: [...stop, ...inject, ...run, two.path, file],
    stdout: "piped",
  }).spawn();
  const pid = await stopped(late.pid, log);
  await Deno.remove(`${file}.part`); // as a rename by the one that held the lock
  await sendToFile(one.path, file);
  const whole = await Deno.readFile(file);
  Deno.kill(pid, "SIGCONT");
  const { stdout } = await late.output();
  assertEquals(new TextDecoder().decode(stdout).trim(), "locked");
  assertEquals(await Deno.readFile(file), whole);
});

/**
 * The process below strace, once it has stopped at its lock. Its state in /proc says so at
 * every call that strace looks at; strace's log only when the signal was taken.
 */
async function stopped(tracer: number, log: string): Promise<number> {
  for (;;) {
    const children = await Deno.readTextFile(`/proc/${tracer}/task/${tracer}/children`);
    const pid = Number(children.trim());
    const seen = await Deno.readTextFile(log).catch(() => "");
    if (pid > 0 && seen.includes("stopped by SIGSTOP") && await hasPart(pid)) return pid;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function hasPart(pid: number): Promise<boolean> {
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    const to = await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => "");
    if (to.endsWith(".part")) return true;
  }
  return false;
}

platformTest("two that replicate at once: the second ends with 5", async () => {
  await using root = await testRoot();
  await using disk = await btrfsScratch();
  const state = root.target("state"), folder = folderReplica(`${disk.path}/backup`);
  let inner: Promise<LockedError> | undefined;
  const during: Replica = {
    ...folder,
    async list(signal) {
      inner ??= assertRejects(() => replicate(state, [folder]), LockedError);
      await inner;
      return await folder.list(signal);
    },
  };
  const { outcomes } = await replicate(state, [during]);
  assertEquals(outcomes[0]!.error, null);
  assertEquals((await inner!).exitCode, 5);
});

platformTest("a clock that jumped ahead deletes nothing, there neither", async () => {
  await using root = await testRoot();
  await using disk = await btrfsScratch();
  const state = root.target("state"), away = `${disk.path}/backup`;
  const rules = {
    policy: parsePolicy("keep_last=1"),
    remotePolicy: parsePolicy("keep_last=1"),
  };
  for (const nowMs of [NOW - 2 * HOUR, NOW - HOUR]) {
    await replicate(state, [folderReplica(away)], { nowMs });
  }
  const nowMs = NOW + 400 * 24 * HOUR;
  const { pruned, outcomes, notes } = await replicate(state, [folderReplica(away)], {
    ...rules,
    nowMs,
  });
  assertEquals([pruned!.deleted, outcomes[0]!.deleted], [[], []]);
  assertEquals(listReplicas(away).length, 3);
  assertIncludes(notes.join("\n"), `nothing is deleted at ${away}: the clock may have`);
});
