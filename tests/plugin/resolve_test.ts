import { assertEquals, assertIncludes, assertThrows } from "../support/assert.ts";
import { OpError } from "../../lib/base/errors.ts";
import { type Candidate, resolve } from "../../lib/plugin/resolve.ts";
import { parseNameRange } from "../../lib/plugin/names.ts";

/** `lxc@1.2.0: net@^1, b` as a candidate. */
function candidate(text: string, more: Partial<Candidate> = {}): Candidate {
  const [head, tail = ""] = text.split(":");
  const { name, range } = parseNameRange(head!.trim())!;
  const dependencies = tail.split(",").map((d) => d.trim()).filter(Boolean)
    .map((d) => parseNameRange(d)!);
  return { name, version: range, dependencies, installed: false, origin: null, ...more };
}

function run(
  goals: string[],
  repository: (string | Candidate)[],
  installed: string[] = [],
  upgrade: string[] = [],
): string[] {
  const all = repository.map((c) => typeof c === "string" ? candidate(c) : c);
  return resolve({
    goals: goals.map((goal) => parseNameRange(goal)!),
    installed: installed.map((text) => candidate(text, { installed: true })),
    available: (name) => all.filter((c) => c.name === name),
    prefersNewest: (name) => upgrade.includes(name),
  }).map((c) => `${c.name}@${c.version}`);
}

Deno.test("the newest that fits is taken, dependencies first", () => {
  assertEquals(
    run(["lxc"], [
      "lxc@1.0.0",
      "lxc@1.2.0: net@^1",
      "net@1.0.0",
      "net@1.9.0",
      "net@2.0.0",
    ]),
    ["net@1.9.0", "lxc@1.2.0"],
  );
  assertEquals(run(["lxc@1.0.0"], ["lxc@1.0.0", "lxc@1.2.0: gone"]), ["lxc@1.0.0"]);
  assertEquals(run(["a@^1.0"], ["a@1.0.0", "a@1.5.0", "a@2.0.0-rc.1", "a@2.0.0"]), [
    "a@1.5.0",
  ]);
  assertEquals(run(["a@2.0.0-rc.1"], ["a@1.0.0", "a@2.0.0-rc.1"]), ["a@2.0.0-rc.1"]);
});

Deno.test("the search goes back where the newest leads nowhere", () => {
  assertEquals(
    run(["a", "b"], [
      "a@2.0.0: c@2",
      "a@1.0.0: c@1",
      "b@1.0.0: c@1",
      "c@1.0.0",
      "c@2.0.0",
    ]),
    ["c@1.0.0", "a@1.0.0", "b@1.0.0"],
  );
});

Deno.test("what is installed stays unless it has to move, and never goes back by itself", () => {
  const repository = ["net@1.0.0", "net@1.1.0", "net@2.0.0", "lxc@1.0.0: net@^1"];
  assertEquals(run(["lxc"], repository, ["net@1.0.0"]), ["net@1.0.0", "lxc@1.0.0"]);
  assertEquals(
    run(["lxc"], ["lxc@1.0.0: net@>=1.1", ...repository.slice(0, 2)], ["net@1.0.0"]),
    [
      "net@1.1.0",
      "lxc@1.0.0",
    ],
  );
  assertThrows(() => run(["lxc"], repository, ["net@2.0.0"]), OpError, /net fits/);
  assertEquals(run(["lxc", "net@^1"], repository, ["net@2.0.0"]), [
    "net@1.1.0",
    "lxc@1.0.0",
  ]);
});

Deno.test("an upgrade respects what other installed plugins want", () => {
  const repository = ["net@1.0.0", "net@1.1.0", "net@2.0.0", "lxc@2.0.0: net@^2"];
  const installed = ["net@1.0.0", "lxc@1.0.0: net@^1"];
  assertEquals(run(["net"], repository, installed, ["net"]), ["net@2.0.0", "lxc@2.0.0"]);
  const kept = repository.slice(0, 3);
  assertEquals(run([], kept, installed, ["net", "lxc"]), ["net@1.1.0", "lxc@1.0.0"]);
});

Deno.test("a conflict says who wants what and what there is", () => {
  const error = assertThrows(
    () =>
      run(["lxc@^1.2"], ["lxc@1.2.0: net@^2", "net@1.0.0", "net@2.0.0"], [
        "netmaker@2.1.0: net@^1",
        "net@1.0.0",
      ]),
    OpError,
  );
  assertEquals(error.code, "unresolvable");
  for (
    const piece of [
      "net",
      "lxc@1.2.0 wants ^2",
      "netmaker@2.1.0 (installed) wants ^1",
      "2.0.0, 1.0.0",
    ]
  ) assertIncludes(error.message, piece);
});

Deno.test("yanked, pre-release and unfit versions are left out and named", () => {
  const yanked = candidate("a@1.1.0", { yanked: "loses data" });
  assertEquals(run(["a"], ["a@1.0.0", yanked]), ["a@1.0.0"]);
  assertEquals(run(["a@1.1.0"], ["a@1.0.0", yanked]), ["a@1.1.0"]);
  assertThrows(() => run(["a@^1.1"], [yanked]), OpError, /yanked: loses data/);
  const unfit = candidate("a@2.0.0", { missing: ["Proxmox VE"] });
  assertEquals(run(["a"], ["a@1.0.0", unfit]), ["a@1.0.0"]);
  assertThrows(() => run(["a"], [unfit]), OpError, /lacks Proxmox VE/);
  const pre = assertThrows(() => run(["a"], ["a@1.0.0-rc.1"]), OpError);
  assertIncludes(pre.hint!, "pre-release");
  assertThrows(() => run(["nobody"], []), OpError, /No repository has nobody/);
});

Deno.test("a cycle is a set like any other; an installed pre-release counts", () => {
  assertEquals(run(["a"], ["a@1.0.0: b", "b@1.0.0: a"]), ["b@1.0.0", "a@1.0.0"]);
  assertEquals(run(["a"], ["a@1.0.0: b"], ["b@2.0.0-rc.1"]), ["b@2.0.0-rc.1", "a@1.0.0"]);
});

Deno.test("a hostile set of dependencies ends in an error, not in a search without end", () => {
  const repository: string[] = [];
  for (let i = 0; i < 12; i++) {
    for (let v = 1; v <= 6; v++) {
      const next = i < 11 ? `p${i + 1}, q@${v}` : "q@9";
      repository.push(`p${i}@${v}.0.0: ${next}`);
    }
  }
  for (let v = 1; v <= 6; v++) repository.push(`q@${v}.0.0`);
  const error = assertThrows(() => run(["p0"], repository), OpError);
  assertEquals(["too_complex", "unresolvable"].includes(error.code), true);
});
