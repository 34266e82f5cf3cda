import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { cli, type CliOptions, spawnCli } from "../support/cli.ts";
import { client } from "../support/private_bus.ts";
import { hostTest, sandboxHost } from "../support/sandbox_host.ts";
import { EXAMPLES } from "../support/state_root.ts";
import { tempFolder } from "../support/scratch.ts";

/** A root made by `init`, with plugins, on a sandboxed bus; runs op-dbus there. */
async function workplace(plugins: readonly string[]) {
  const host = await sandboxHost();
  const folder = await tempFolder("op-dbus-cli-state-");
  const root = `${folder.path}/root`;
  const env = { OPDBUS_ROOT: root, DBUS_SYSTEM_BUS_ADDRESS: host.address };
  const run = (args: string[], more: CliOptions = {}) => cli(args, { ...more, env });
  assertEquals((await run(["init", "--plain"])).code, 0);
  for (const name of plugins) {
    await Deno.mkdir(`${root}/@plugin-${name}`);
    for (const file of ["plugin.toml", "semantic-mapping.toml"]) {
      await Deno.copyFile(
        `${EXAMPLES}${name}/${file}`,
        `${root}/@plugin-${name}/${file}`,
      );
    }
  }
  return {
    root,
    env,
    run,
    address: host.address,
    async state(document: unknown, name = "state.json") {
      const path = `${folder.path}/${name}`;
      await Deno.writeTextFile(path, JSON.stringify({ version: 1, plugins: document }));
      return path;
    },
    path: (name: string) => `${folder.path}/${name}`,
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

hostTest(
  "the seed's workflow: create a plugin, query, diff, apply, verify, roll back",
  async () => {
    await using place = await workplace([]);
    const { run } = place;
    const made = await run([
      "plugin",
      "create",
      "host",
      "--from-dbus",
      "org.freedesktop.hostname1",
    ]);
    assertEquals(made.code, 0, made.stderr);
    assertIncludes(made.stdout, "methods, 3 safe");
    assertEquals(
      (await run(["plugin", "validate", `${place.root}/@plugin-host`])).code,
      0,
    );

    const queried = await run(["query", "--plugin", "host", "--json"]);
    const document = JSON.parse(queried.stdout);
    assertEquals(document.plugins.host.pretty_hostname, "");

    const state = await place.state({
      host: { pretty_hostname: "Neu", location: "hier" },
    });
    const diff = await run(["diff", state, "--exit-code"]);
    assertEquals(diff.code, 3);
    assertIncludes(diff.stdout, '~ host.pretty_hostname  "" -> "Neu"');
    assertIncludes(diff.stdout, "SetPrettyHostname");
    assertIncludes(
      diff.stdout,
      "Plan: 0 to create, 2 to modify, 0 to delete; 2 to confirm",
    );

    // No terminal and no --yes.
    const asked = await run(["apply", state, "--plugin", "host"]);
    assertEquals(asked.code, 4, asked.stderr);
    const safe = await run(["apply", state, "--only-safe", "--json"]);
    assertEquals(JSON.parse(safe.stdout).applied, []);
    const dry = await run(["apply", state, "--dry-run"]);
    assertIncludes(dry.stdout, "Plan: ");
    assertEquals((await run(["verify", state])).code, 3);

    const applied = await run(["apply", state, "--plugin", "host", "--yes"]);
    assertEquals(applied.code, 0, applied.stderr);
    assertIncludes(applied.stdout, "done  host.location");
    assertEquals((await run(["diff", state, "--exit-code"])).code, 0);
    assertEquals((await run(["verify"])).code, 0);
    const again = await run(["apply", state, "--yes"]);
    assertIncludes(again.stdout, "No changes");

    const list = JSON.parse((await run(["checkpoint", "list", "--json"])).stdout);
    assertEquals(list.checkpoints.length, 1);
    const back = await run(["rollback", "--to-checkpoint", "latest", "--yes"]);
    assertEquals(back.code, 0, back.stderr);
    const after = JSON.parse(
      (await run(["query", "--plugin", "host", "--json", "--fresh"])).stdout,
    );
    assertEquals(after.plugins.host.pretty_hostname, "");
  },
);

hostTest("what a query prints can be compared and applied as it is", async () => {
  await using place = await workplace(["hostname", "timedate", "firewalld", "accounts"]);
  const { run } = place;
  const path = place.path("all.json");
  const { stdout } = await run(["query", "--json"]);
  // One of them cannot be read here, one only be read.
  const { plugins } = JSON.parse(stdout);
  assertIncludes(plugins.timedate.ntp.$unknown, "Cannot call");
  await Deno.writeTextFile(path, stdout);
  const same = await run(["diff", path, "--exit-code"]);
  assertEquals(same.code, 0, same.stderr + same.stdout);
  plugins.hostname.operating_system = "Plan 9";
  const other = await place.state(plugins);
  const diff = await run(["diff", other]);
  assertIncludes(
    diff.stdout,
    /\? hostname\.operating_system +unknown: .*cannot be changed/,
  );
  assertEquals((await run(["verify", other])).code, 3);
  const applied = await run(["apply", other, "--yes"]);
  assertEquals(applied.code, 1);
  assertIncludes(applied.stderr, "nothing was changed");
});

hostTest("rollback to a block undoes every state block after it", async () => {
  await using place = await workplace(["hostname"]);
  const { run } = place;
  for (const location of ["one", "two", "three"]) {
    const state = await place.state({ hostname: { location } });
    assertEquals((await run(["apply", state, "--yes"])).code, 0);
  }
  const blocks = JSON.parse((await run(["chain", "list", "--json"])).stdout);
  const numbers = (blocks.blocks ?? blocks).map((block: { number: number }) =>
    block.number
  )
    .sort((a: number, b: number) => a - b);
  const first = numbers.at(-3);
  const back = await run(["rollback", "--to-block", String(first), "--yes"]);
  assertEquals(back.code, 0, back.stderr);
  const now = await run(["query", "--plugin", "hostname", "--json", "--fresh"]);
  assertEquals(JSON.parse(now.stdout).plugins.hostname.location, "one");
  assertEquals((await run(["rollback", "--to-block", "99999", "--yes"])).code, 1);
  assertEquals((await run(["rollback"])).code, 2);
});

hostTest("a saved plan applies, and is refused once the host has changed", async () => {
  await using place = await workplace(["hostname"]);
  const { run } = place;
  const state = await place.state({ hostname: { location: "hier" } });
  const plan = place.path("plan.json");
  assertEquals((await run(["diff", state, "--output", plan])).code, 0);
  await client(
    place.address,
    "busctl",
    `--address=${place.address}`,
    "call",
    "org.freedesktop.hostname1",
    "/org/freedesktop/hostname1",
    "org.freedesktop.hostname1",
    "SetLocation",
    "sb",
    "anderswo",
    "false",
  );
  const stale = await run(["apply", plan, "--yes"]);
  assertEquals(stale.code, 1);
  assertIncludes(stale.stderr, "has changed since the plan was made");
  assertEquals((await run(["diff", state, "--output", plan])).code, 0);
  assertEquals((await run(["apply", plan, "--yes"])).code, 0);
});

hostTest("--confirm-within: kept when confirmed, reverted when not", async () => {
  await using place = await workplace(["hostname"]);
  const { run } = place;
  const location = async () => {
    const { stdout } = await run(["query", "--plugin", "hostname", "--json", "--fresh"]);
    return JSON.parse(stdout).plugins.hostname.location;
  };
  assertEquals((await run(["confirm"])).code, 1);
  const late = await run([
    "apply",
    await place.state({ hostname: { location: "late" } }),
    "--yes",
    "--confirm-within",
    "200ms",
  ]);
  assertEquals(late.code, 6, late.stderr);
  assertIncludes(late.stderr, "nobody confirmed");
  assertEquals(await location(), "");

  const kept = await place.state({ hostname: { location: "kept" } });
  const child = spawnCli(["apply", kept, "--yes", "--confirm-within", "30s"], place);
  await child.stdin.close();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  while (!seen.includes("op-dbus confirm")) {
    const { value, done } = await reader.read();
    assertTrue(!done, `it ended: ${seen}`);
    seen += value;
  }
  // The session that applied hangs up: the process lives on.
  Deno.kill(child.pid, "SIGHUP");
  const locked = await run(["apply", kept, "--yes"]);
  assertEquals(locked.code, 5, locked.stderr);
  assertEquals((await run(["confirm"])).code, 0);
  await reader.cancel();
  await child.stdout.cancel();
  assertEquals((await child.status).code, 0);
  assertEquals(await location(), "kept");
});

hostTest("Ctrl-C while it waits to be confirmed undoes everything", async () => {
  await using place = await workplace(["hostname"]);
  const state = await place.state({ hostname: { location: "x", deployment: "y" } });
  const child = spawnCli(["apply", state, "--yes", "--confirm-within", "60s"], place);
  await child.stdin.close();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  let stopped = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    seen += value;
    if (!stopped && seen.includes("op-dbus confirm")) {
      stopped = true;
      child.kill("SIGINT");
    }
  }
  await child.stdout.cancel();
  assertEquals((await child.status).code, 130, seen);
  assertIncludes(seen, "2 of 2 changes undone");
});

hostTest("wrong state files end with 2 and name the place", async () => {
  await using place = await workplace(["hostname", "firewalld"]);
  const cases: [string, string | RegExp][] = [
    ["{", /:1: not JSON/],
    ['{"version":1,"plugins":{},"plugins":{}}', ":1: the key at /plugins comes twice"],
    ['{"version":2,"plugins":{}}', "/version: is 2"],
    ['{"version":1,"plugins":{"hostnam":{}}}', "did you mean hostname?"],
    ['{"version":1,"plugins":{"hostname":{"locatoin":"x"}}}', 'did you mean "location"?'],
    [
      '{"version":1,"plugins":{"hostname":{"location":5}}}',
      "/plugins/hostname/location: expected a string (D-Bus type s), got 5",
    ],
    [
      '{"version":1,"plugins":{"firewalld":{"ports":{"public":["80"]}}}}',
      '/plugins/firewalld/ports/public/0: expected "port/protocol"',
    ],
    [
      '{"version":1,"plugins":{"firewalld":{"services":{"public":["a","a"]}}}}',
      "/plugins/firewalld/services/public/1: is listed twice",
    ],
    ["[".repeat(100_000), "nested more than 64 deep"],
  ];
  for (const [text, expected] of cases) {
    await Deno.writeTextFile(place.path("bad.json"), text);
    const { code, stderr } = await place.run(["diff", place.path("bad.json")]);
    assertEquals(code, 2, stderr);
    assertIncludes(stderr, expected);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  await Deno.writeTextFile(place.path("big.json"), "");
  await Deno.truncate(place.path("big.json"), 100 * 1024 * 1024);
  const big = await place.run(["apply", place.path("big.json"), "--yes"]);
  assertEquals(big.code, 2);
  assertIncludes(big.stderr, "larger than 32 MiB");
  assertEquals((await place.run(["diff", place.path("none.json")])).code, 2);
});
