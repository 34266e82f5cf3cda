import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { below, oneOf, type Random, seeded } from "../support/random.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { resolveConfig } from "../../lib/base/config.ts";
import { InputError } from "../../lib/base/errors.ts";
import { clockProblem } from "../../lib/snapshot/clock.ts";
import { type Candidate, decide, spareable } from "../../lib/snapshot/decide.ts";
import { snapshotName } from "../../lib/snapshot/name.ts";
import { parsePolicy, type Policy, policyOf } from "../../lib/snapshot/policy.ts";
import { resticKeeps, type ResticPolicy } from "./restic_oracle.ts";

const HOUR = 3_600_000, DAY = 24 * HOUR;
const T0 = Date.UTC(2025, 0, 15, 10);

const candidate = (timeMs: number, more: Partial<Candidate> = {}): Candidate => ({
  name: snapshotName("c", timeMs, "second"),
  timeMs,
  holds: [],
  problem: null,
  ...more,
});
const keptTimes = (candidates: readonly Candidate[], policy: Policy, nowMs: number) =>
  new Set(
    decide(candidates, policy, nowMs).filter(({ action }) => action === "keep")
      .map(({ timeMs }) => timeMs),
  );

const UNITS = ["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"];

/** A policy for the oracle, with what restic does not know left out on request. */
function randomPolicy(random: Random, units = UNITS): ResticPolicy {
  const policy: Record<string, number> = {};
  const sometimes = (name: string, limit: number, chance: number) => {
    if (random() < chance) policy[name] = 1 + below(random, limit);
  };
  sometimes("last", 30, 0.4);
  sometimes("within", 24 * oneOf(random, [1, 10, 100, 800]), 0.2);
  for (const unit of units) {
    sometimes(unit, 20, 0.3);
    sometimes(`within-${unit}`, 24 * oneOf(random, [1, 10, 100, 1000]), 0.15);
  }
  if (Object.keys(policy).length === 0) policy["last"] = 1;
  return policy;
}

function asOurs(policy: ResticPolicy): Policy {
  const parts = Object.entries(policy).map(([name, n]) =>
    `keep_${name.replace("-", "_")}=${n}${name.startsWith("within") ? "h" : ""}`
  );
  return parsePolicy(parts.join(","));
}

/** Moments that calendars trip over: clock changes, leap days, year and week ends. */
const EDGES = [
  Date.UTC(2024, 1, 29),
  Date.UTC(2024, 2, 31, 1),
  Date.UTC(2024, 9, 27, 1),
  Date.UTC(2025, 2, 30, 1),
  Date.UTC(2024, 11, 30),
  Date.UTC(2025, 0, 1),
  Date.UTC(2026, 11, 31, 23, 59),
  Date.UTC(2000, 1, 29),
];

function randomHistory(random: Random, size: number): number[] {
  const edge = oneOf(random, EDGES), step = oneOf(random, [HOUR / 4, HOUR, DAY, 9 * DAY]);
  const times = new Set<number>();
  for (let i = 0; i < size; i++) {
    const away = (random() - 0.5) * step * size;
    times.add(Math.floor((edge + (random() < 0.2 ? 0 : away)) / 1000) * 1000);
  }
  return [...times];
}

Deno.test("2,000 random policies and histories keep what restic's manual says", () => {
  const random = seeded(20250115);
  for (let round = 0; round < 2000; round++) {
    const times = randomHistory(random, 1 + below(random, 120));
    const policy = randomPolicy(random);
    const iso = times.map((timeMs) => new Date(timeMs).toISOString());
    const wanted = resticKeeps(iso, policy);
    const kept = keptTimes(
      times.map((t) => candidate(t)),
      asOurs(policy),
      Math.max(...times),
    );
    assertEquals(
      [...kept].map((timeMs) => new Date(timeMs!).toISOString()).sort(),
      [...wanted].sort(),
      `round ${round}: ${JSON.stringify(policy)}`,
    );
  }
});

Deno.test("no time zone moves a decision: the same in Berlin, Lord Howe and UTC", async () => {
  const url = (path: string) =>
    new URL(`../../lib/snapshot/${path}`, import.meta.url).href;
  const code = `
    import { decide } from ${JSON.stringify(url("decide.ts"))};
    import { parsePolicy } from ${JSON.stringify(url("policy.ts"))};
    const all = [];
    for (let t = Date.UTC(2024, 9, 20); t < Date.UTC(2024, 10, 3); t += 1800000) {
      all.push({ name: "c" + t, timeMs: t, holds: [], problem: null });
    }
    const policy = parsePolicy("keep_hourly=30,keep_daily=9,keep_weekly=3");
    console.log(JSON.stringify(decide(all, policy, Date.UTC(2024, 10, 3))));`;
  const run = async (TZ: string) => {
    const { stdout, success } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", code],
      env: { TZ },
    }).output();
    assertTrue(success);
    return new TextDecoder().decode(stdout);
  };
  const utc = await run("UTC");
  assertEquals(await run("Europe/Berlin"), utc);
  assertEquals(await run("Australia/Lord_Howe"), utc);
});

function hasRestic(): boolean {
  try {
    return new Deno.Command("restic", { args: ["version"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** restic takes half a second per command, whatever it does; more by OPDBUS_TEST_ROUNDS. */
const ROUNDS = Number(Deno.env.get("OPDBUS_TEST_ROUNDS") ?? 8);

Deno.test({
  name: "the real restic keeps the same",
  ignore: !hasRestic(),
  async fn() {
    await using folder = await tempFolder();
    const env = ["RESTIC_PASSWORD=x", "TZ=UTC", `RESTIC_CACHE_DIR=${folder.path}/cache`];
    const restic = (...args: string[]) =>
      sh("env", ...env, "restic", "-q", "-r", `${folder.path}/repo`, ...args);
    await restic("init");
    await Deno.writeTextFile(`${folder.path}/file`, "x");
    const random = seeded(7), times = randomHistory(random, 20);
    for (const timeMs of times) {
      const time = new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");
      await restic("backup", "--host", "h", "--time", time, `${folder.path}/file`);
    }
    for (let round = 0; round < ROUNDS; round++) {
      const policy = randomPolicy(random, UNITS.filter((unit) => unit !== "quarterly"));
      const options = Object.entries(policy).flatMap(([name, n]) => [
        `--keep-${name}`,
        name.startsWith("within") ? `${n}h` : String(n),
      ]);
      const json = await restic("forget", "--dry-run", "--json", ...options);
      const [group] = JSON.parse(json) as { keep: { time: string }[] }[];
      const theirs = group!.keep.map(({ time }) => Date.parse(time)).sort();
      const decisions = decide(
        times.map((t) => candidate(t)),
        asOurs(policy),
        Math.max(...times),
      );
      const kept = decisions.filter(({ action }) => action === "keep");
      // Up to 0.16 restic did not keep "the oldest snapshot additionally".
      const older = kept.filter(({ reasons }) =>
        reasons.some(({ detail }) => detail !== "the oldest")
      );
      const ours = (theirs.length < kept.length ? older : kept)
        .map(({ timeMs }) => timeMs!).sort();
      assertEquals(ours, theirs, JSON.stringify(policy));
    }
  },
});

Deno.test("of names that tell the same time the longest is the newest", () => {
  const named = (end: string): Candidate =>
    candidate(T0, { name: `c@2025-01-15-${end}` });
  const [first, second, third] = [
    named("10:00"),
    named("10:00:00"),
    named("10:00:00.000"),
  ];
  const older = candidate(T0 - HOUR);
  for (const all of [[older, first, second, third], [third, second, first, older]]) {
    const decisions = decide(all, parsePolicy("keep_last=2"), T0 + HOUR);
    assertEquals(decisions.map(({ name, action }) => [name, action]), [
      [older.name, "delete"],
      [first.name, "delete"],
      [second.name, "keep"],
      [third.name, "keep"],
    ]);
  }
});

Deno.test("held, foreign, unreadable and future ones are kept, with the reason", () => {
  const policy = parsePolicy("keep_last=1");
  const decisions = decide(
    [
      candidate(T0 - 5 * HOUR),
      candidate(T0 - 4 * HOUR, { holds: ["audit"] }),
      candidate(T0 - 3 * HOUR, { problem: "it is writable" }),
      candidate(T0),
      candidate(T0 + HOUR),
      { name: "c@odd", timeMs: null, holds: [], problem: "unreadable" },
    ],
    policy,
    T0,
  );
  assertEquals(
    decisions.map(({ action, reasons }) => [action, ...reasons.map(({ rule }) => rule)]),
    [
      ["delete", "none"],
      ["keep", "hold"],
      ["keep", "not_ours"],
      ["keep", "keep_last"],
      ["keep", "future"],
      ["keep", "not_ours"],
    ],
  );
});

Deno.test("keep_min, min_age and a clock that is not trusted override every rule", () => {
  const all = Array.from({ length: 10 }, (_, i) => candidate(T0 - i * HOUR));
  const count = (policy: string, clock: string | null = null) =>
    decide(all, parsePolicy(policy), T0, clock)
      .filter(({ action }) => action === "keep").length;
  assertEquals(count("keep_last=2"), 2);
  assertEquals(count("keep_last=2,keep_min=5"), 5);
  assertEquals(count("keep_last=2,min_age=7h"), 7);
  assertEquals(count("keep_last=2", "it jumped"), 10);
  assertEquals(count("keep_yearly=1,keep_min=50"), 10);
});

Deno.test("when space is short: oldest first, down to keep_min, never what is spared", () => {
  const all = [
    ...Array.from({ length: 6 }, (_, i) => candidate(T0 - (10 - i) * HOUR)),
    candidate(T0 - 2 * HOUR, { holds: ["x"] }),
    candidate(T0 - 10 * 60_000),
  ];
  const go = (text: string) => {
    const policy = parsePolicy(text);
    return spareable(decide(all, policy, T0), policy).map(({ timeMs }) =>
      (T0 - timeMs) / HOUR
    );
  };
  assertEquals(go("keep_last=100"), [10, 9, 8, 7, 6, 5]);
  assertEquals(go("keep_last=100,keep_min=5,min_age=1h"), [10, 9, 8]);
  assertEquals(go("keep_last=100,keep_min=8"), []);
});

Deno.test("clock: behind the newest snapshot, after a long gap, and back to trust", () => {
  assertEquals(clockProblem([], T0), null);
  assertEquals(clockProblem([T0 - HOUR, T0 + 60_000], T0), null);
  assertEquals(
    clockProblem([T0 - HOUR, T0 + 5 * HOUR], T0),
    "the clock is 5h behind the newest snapshot",
  );
  const old = [T0 - 400 * DAY, T0 - 399 * DAY];
  assertTrue(clockProblem(old, T0)?.includes("may have jumped: 1y without"));
  assertTrue(clockProblem([...old, T0 - 5 * HOUR, T0 - HOUR], T0));
  assertEquals(clockProblem([...old, T0 - 25 * HOUR, T0 - HOUR], T0), null);
  assertEquals(clockProblem([T0 - 29 * DAY], T0), null);
  const monthly = [1, 2, 3, 4].map((n) => T0 - n * 31 * DAY);
  assertEquals(clockProblem(monthly, T0), null, "a host that runs once a month");
  assertTrue(
    clockProblem(monthly, T0 + 40 * DAY),
    "and missed a month, or the clock did",
  );
});

Deno.test("policies: from the config, the default, typed; empty and unknown are refused", () => {
  const config = resolveConfig({
    file: {
      path: "/c",
      text: "[snapshot.policies.long]\nkeep_daily = 7\nkeep_within = '2d'\n" +
        "[snapshot.policies.void]\nmin_age = '1d'\n",
    },
  });
  const of = (policy: string) => policyOf({ name: "cache", policy }, config);
  assertEquals(of("default").keep_last, 24);
  assertEquals([of("long").keep_daily, of("long").keep_within], [7, 2 * DAY]);
  assertEquals(assertThrows(() => of("void"), InputError).code, "empty_policy");
  assertEquals(assertThrows(() => of("lomg"), InputError).hint, "did you mean long?");
  assertEquals(
    parsePolicy("keep_last=3 keep_within_daily=7d").keep_within_daily,
    7 * DAY,
  );
  for (
    const bad of [
      "",
      "keep_last",
      "keep_last=x",
      "kep_last=1",
      "keep_last=0",
      "__proto__=1",
    ]
  ) {
    assertThrows(() => parsePolicy(bad), InputError);
  }
});
