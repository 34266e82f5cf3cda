import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { platformTest, sh } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import type { RecordedAction } from "../../lib/base/recorder.ts";
import { LockedError, OpError } from "../../lib/base/errors.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { addHold } from "../../lib/snapshot/holds.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import { prune, rotate } from "../../lib/snapshot/rotate.ts";
import { simulate } from "../../lib/snapshot/simulate.ts";
import type { Target } from "../../lib/snapshot/target.ts";

const HOUR = 3_600_000;
const NOW = Math.floor(Date.now() / 60_000) * 60_000;
const names = (target: Target) => listFound(target).map(({ name }) => name);

async function history(target: Target, count: number): Promise<string[]> {
  const made = [];
  for (let i = count; i > 0; i--) {
    made.push((await createSnapshot(target, { nowMs: NOW - i * HOUR })).name);
  }
  return made;
}

platformTest(
  "rotate keeps the last 24: the new one is there, the oldest goes",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache"), policy = parsePolicy("keep_last=24");
    const before = await history(cache, 24);
    const { created, deleted, decisions, notes } = await rotate(cache, policy, {
      nowMs: NOW,
    });
    assertEquals([deleted, notes], [[before[0]!], []]);
    assertEquals(names(cache), [...before.slice(1), created!.name]);
    assertEquals(decisions.length, 25);
    const again = await rotate(cache, policy, { nowMs: NOW + 1000 });
    assertEquals(again.deleted, [before[1]!]);
    assertEquals(names(cache).length, 24);
  },
);

platformTest("the newest content never gets an older time's name", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), policy = parsePolicy("keep_last=1");
  for (const afterMs of [0, 10_000, 20_000, 30_000]) {
    // The name of the minute is free again in the third: the second deleted its owner.
    const { created } = await rotate(cache, policy, { nowMs: NOW + afterMs - 60_000 });
    assertEquals(names(cache), [created!.name]);
  }
});

platformTest("a dry run says the same and changes nothing", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), policy = parsePolicy("keep_last=3,keep_daily=2");
  const before = await history(cache, 8);
  const dry = await rotate(cache, policy, { nowMs: NOW, dryRun: true });
  assertEquals([dry.created, names(cache)], [null, before]);
  const real = await rotate(cache, policy, { nowMs: NOW });
  assertEquals(real.deleted, dry.deleted);
  assertEquals(
    real.decisions.map(({ reasons }) => reasons),
    dry.decisions.map((d) => d.reasons),
  );
});

platformTest("a dry run in the second of the last snapshot still counts it", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), policy = parsePolicy("keep_last=1");
  for (const afterMs of [0, 10]) await createSnapshot(cache, { nowMs: NOW + afterMs });
  const dry = await rotate(cache, policy, { nowMs: NOW + 20, dryRun: true });
  assertEquals(dry.deleted, names(cache));
});

platformTest(
  "held, foreign, writable and future ones survive, and are reported",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache"), { folder } = cache;
    const [first] = await history(cache, 3);
    addHold(folder, first!, "audit", NOW);
    await createSnapshot(cache, { nowMs: NOW + 48 * HOUR });
    await sh("btrfs", "subvolume", "create", `${folder}/mine`);
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      cache.path,
      `${folder}/cache@2020-01-01-00:00`,
    );
    const { deleted, notes } = await rotate(cache, parsePolicy("keep_last=1"), {
      nowMs: NOW,
    });
    assertEquals(deleted.length, 2);
    const left = names(cache);
    assertEquals(left.length, 5);
    assertTrue(left.includes(first!) && left.includes("mine"));
    assertEquals(notes.length, 3);
    assertIncludes(notes.join("\n"), "mine is kept: its name is not one");
    assertIncludes(notes.join("\n"), "2d ahead of the clock");
  },
);

platformTest("a clock behind the newest snapshot deletes nothing", async () => {
  await using root = await testRoot();
  const cache = root.target("cache");
  await history(cache, 4);
  const past = { nowMs: NOW - (300 * 24 + 12) * HOUR };
  const { deleted, notes } = await rotate(cache, parsePolicy("keep_last=1"), past);
  assertEquals(deleted, []);
  assertIncludes(notes[0]!, /^nothing is deleted: the clock is 300d behind/);
  assertEquals(names(cache).length, 5);
});

platformTest(
  "a lost lineage keeps what it cannot recognise; a lost folder of holds aborts",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache"), policy = parsePolicy("keep_last=1");
    await history(cache, 3);
    await sh("mv", cache.path, `${cache.path}-old`);
    await sh("btrfs", "subvolume", "create", cache.path);
    await Deno.remove(`${cache.folder}/.lineage.json`);
    const { deleted, notes } = await rotate(cache, policy, { nowMs: NOW });
    assertEquals([deleted, notes.length], [[], 3]);
    assertIncludes(notes[0]!, "it is no snapshot of this target");
    await Deno.writeTextFile(`${cache.folder}/.holds`, "not a folder");
    await assertRejects(() => prune(cache, policy, { nowMs: NOW }), OpError, /ENOTDIR/);
    assertEquals((await sh("ls", cache.folder)).trim().split("\n").length, 4);
  },
);

platformTest("two at once: exit 5, or one after the other with a wait", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), policy = parsePolicy("keep_last=24");
  {
    using _held = await acquireLock(cache.lock);
    const error = await assertRejects(() => rotate(cache, policy), LockedError);
    assertEquals(error.exitCode, 5);
    assertEquals(names(cache), []);
  }
  await Promise.all([1, 2, 3].map(() => rotate(cache, policy, { waitMs: 60_000 })));
  assertEquals(names(cache).length, 3);
});

platformTest(
  "free_space_min prunes on, oldest first, down to keep_min, and says so",
  async () => {
    await using root = await testRoot("", 512);
    const state = root.target("state");
    for (let i = 5; i > 0; i--) {
      const data = crypto.getRandomValues(new Uint8Array(65536));
      for (let n = 0; n < 256; n++) {
        await Deno.writeFile(
          `${state.path}/${n}`,
          data.map((b) => b ^ n),
        );
      }
      await createSnapshot(state, { nowMs: NOW - i * HOUR });
    }
    const { availableBytes } = await import("../../ffi/stat.ts").then((m) =>
      m.statfs(root.mount)
    );
    const wanted = availableBytes + 24 * 2 ** 20; // more than one snapshot's 16 MiB
    const policy = parsePolicy(`keep_last=100,keep_min=2,free_space_min=${wanted}`);
    const { deleted, notes } = await rotate(state, policy, { nowMs: NOW });
    assertTrue(deleted.length >= 1 && deleted.length <= 4, `${deleted.length}`);
    assertEquals(notes.length, deleted.length);
    assertIncludes(notes[0]!, "deleted although the policy keeps it: only");
    const all = parsePolicy("keep_last=100,keep_min=2,free_space_min=100G");
    const dry = await prune(state, all, { nowMs: NOW, dryRun: true });
    assertEquals([dry.deleted, dry.whileShort], [[], names(state).slice(0, -2)]);
    assertIncludes(dry.notes.at(-1)!, /under free_space_min: .* would go too/);
    const second = await prune(state, all, { nowMs: NOW });
    assertEquals(names(state).length, 2);
    assertIncludes(second.notes.at(-1)!, "nothing more may be deleted");
  },
);

platformTest("nothing goes that nobody agreed to, whatever came since", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), policy = parsePolicy("keep_last=2");
  const before = await history(cache, 4);
  const { deleted } = await prune(cache, policy, { nowMs: NOW, dryRun: true });
  await createSnapshot(cache, { nowMs: NOW }); // while the question is open
  const agreed = new Set(deleted);
  const done = await prune(cache, policy, { nowMs: NOW, agreed });
  assertEquals(done.deleted, before.slice(0, 2));
  const short = parsePolicy("keep_last=9,free_space_min=100G");
  assertEquals((await prune(cache, short, { nowMs: NOW, agreed })).deleted, []);
});

platformTest("what is pruned is recorded; an aborted run keeps the rest", async () => {
  await using root = await testRoot();
  const cache = root.target("cache");
  const before = await history(cache, 5);
  const seen: RecordedAction[] = [];
  const stop = new AbortController();
  const recorder = {
    record(action: RecordedAction) {
      seen.push(action);
      stop.abort();
      return Promise.resolve();
    },
  };
  const options = { nowMs: NOW, recorder, signal: stop.signal };
  const error = await assertRejects(
    () => prune(cache, parsePolicy("keep_last=1"), options),
    OpError,
  );
  assertEquals([error.exitCode, error.message], [
    130,
    "Stopped pruning cache after 1 were deleted",
  ]);
  assertEquals(seen.map(({ action, subject }) => [action, subject]), [[
    "prune",
    before[0]!,
  ]]);
  assertEquals(names(cache), before.slice(1));
});

platformTest("a note that finds no room is made when there is some", async () => {
  await using root = await testRoot();
  const cache = root.target("cache"), before = await history(cache, 4);
  const noted: string[] = [];
  let full = true;
  const recorder = {
    record({ subject }: RecordedAction) {
      // As on a full disk: there is room when the last one is gone.
      if (full) full = names(cache).length > 1;
      if (full) throw new OpError("no_space", "Cannot append to the chain: disk full");
      noted.push(subject);
      return Promise.resolve();
    },
  };
  const options = { nowMs: NOW, recorder };
  const { deleted } = await prune(cache, parsePolicy("keep_last=1"), options);
  assertEquals(deleted, before.slice(0, 3));
  assertEquals(noted, deleted);
  const never = { record: () => Promise.reject(new OpError("no_space", "disk full")) };
  await history(cache, 2);
  await assertRejects(
    () => prune(cache, parsePolicy("keep_last=1"), { nowMs: NOW, recorder: never }),
    OpError,
    /disk full/,
  );
  assertEquals(names(cache).length, 1);
});

platformTest(
  "disk full: the old snapshots stay whole, also when the create fails",
  async () => {
    await using root = await testRoot("", 128);
    const state = root.target("state");
    await Deno.writeTextFile(`${state.path}/old`, "old content");
    const before = await history(state, 3);
    const junk = crypto.getRandomValues(new Uint8Array(65536));
    try {
      for (let i = 0;; i++) await Deno.writeFile(`${state.path}/junk${i}`, junk);
    } catch (error) {
      assertIncludes(String(error), "No space left");
    }
    try {
      await rotate(state, parsePolicy("keep_last=24"), { nowMs: NOW });
    } catch (error) {
      assertTrue(error instanceof OpError && error.code === "no_space", String(error));
    }
    assertEquals(names(state).slice(0, 3), before);
    for (const name of before) {
      assertEquals(await Deno.readTextFile(`${state.folder}/${name}/old`), "old content");
    }
  },
);

Deno.test("simulate: a year of hours under a policy, and a limit on what is asked", () => {
  const policy = parsePolicy("keep_hourly=24,keep_daily=7,keep_weekly=4,keep_monthly=12");
  const day = 24 * HOUR;
  const { runs, most, steps } = simulate({
    policy,
    everyMs: HOUR,
    forMs: 365 * day,
    startMs: Date.UTC(2024, 0, 1),
  }, 12);
  assertEquals([runs, steps.length], [8761, 12]);
  assertTrue(most <= 24 + 7 + 4 + 12 + 1, `${most}`);
  const last = steps.at(-1)!;
  assertEquals(last.timeMs, Date.UTC(2024, 0, 1) + 365 * day);
  assertTrue(last.existMs[0]! < last.timeMs - 300 * day, "a year back");
});
