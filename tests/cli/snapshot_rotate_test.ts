import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsRoot } from "../support/cli_root.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";

platformTest(
  "rotate: like from cron, quiet, with an empty PATH; then list says why",
  async () => {
    await using root = await btrfsRoot();
    await root.json("embed", "kept");
    const cron = { env: { PATH: "", HOME: "/root" } };
    for (let i = 0; i < 3; i++) {
      const { code, stdout, stderr } = await root.run(
        ["snapshot", "rotate", "--quiet", "--policy", "keep_last=2"],
        cron,
      );
      assertEquals([code, stdout, stderr], [0, "", ""]);
    }
    const { snapshots } = await root.json("snapshot", "list");
    assertEquals(snapshots.length, 2);
    assertEquals(snapshots[0].reasons[0].rule, "keep_last");
    assertEquals(snapshots[0].exclusive_bytes, null);
    const text = (await root.run(["snapshot", "list"])).stdout;
    assertIncludes(text, "keep_last 1 of 24");
    assertIncludes(text, /[▪▮█]/);
    await sh("btrfs", "quota", "enable", root.scratch.path);
    await sh("btrfs", "quota", "rescan", "-w", root.scratch.path);
    const sized = await root.json("snapshot", "list");
    assertTrue(sized.snapshots[0].referenced_bytes > 0);
    const dry = await root.json(
      "snapshot",
      "rotate",
      "--dry-run",
      "--policy",
      "keep_last=1",
    );
    assertEquals(dry.rotations[0].deleted.length, 2);
    const explained = await root.run([
      "snapshot",
      "rotate",
      "--explain",
      "cache",
      "state",
    ]);
    assertIncludes(explained.stdout, /cache: created cache@\S+, deleted 0, kept 3/);
    assertIncludes(explained.stdout, /state@\S+\s+keep\s+keep_last: 1 of 24/);
    const unsure = await root.run(["snapshot", "prune", "--policy", "keep_last=1"]);
    assertEquals(unsure.code, 4);
    const pruned = await root.json(
      "snapshot",
      "prune",
      "--policy",
      "keep_last=1",
      "--yes",
    );
    assertEquals(pruned.rotations[0].deleted.length, 2);
  },
);

platformTest("hold, release, restore, cat, diff, verify by name alone", async () => {
  await using root = await btrfsRoot();
  const state = `${root.path}/@state`;
  await Deno.writeTextFile(`${state}/note`, "one");
  const { name: first } = await root.json("snapshot", "create", "--target", "state");
  await Deno.writeTextFile(`${state}/note`, "two");
  const { name: second } = await root.json("snapshot", "create", "--target", "state");
  const held = await root.json("snapshot", "hold", first, "--tag", "audit");
  assertEquals(held.holds, ["audit"]);
  assertEquals((await root.run(["snapshot", "delete", first, "--yes"])).code, 1);
  assertEquals((await root.json("snapshot", "release", first)).released, ["audit"]);
  const { changes } = await root.json("snapshot", "diff", first, second);
  assertEquals(changes.map((c: { path: string; change: string }) => [c.path, c.change]), [
    ["note", "modified"],
  ]);
  assertEquals((await root.run(["snapshot", "cat", first, "note"])).stdout, "one");
  assertEquals((await root.run(["snapshot", "cat", first, "../x"])).code, 2);
  assertEquals((await root.run(["snapshot", "restore", first])).code, 4);
  const restored = await root.json("snapshot", "restore", first, "--yes");
  assertEquals(await Deno.readTextFile(`${state}/note`), "one");
  const digests = await Promise.all(
    [second, restored.saved].map(async (n) =>
      (await root.json("snapshot", "verify", n)).digest
    ),
  );
  assertEquals(digests[0], digests[1]);
  // A path from the current folder, as any tool takes one.
  const here = { cwd: root.scratch.path };
  const beside = ["snapshot", "restore", second, "--to", "./beside"];
  const dry = await root.run([...beside, "--dry-run"], here);
  assertIncludes(dry.stdout, ` to ${root.scratch.path}/beside`);
  const made = await root.run(beside, here);
  assertEquals(made.code, 0, made.stderr);
  assertIncludes(made.stdout, ` to ${root.scratch.path}/beside`);
  assertEquals(await Deno.readTextFile(`${root.scratch.path}/beside/note`), "two");
  const chain = await root.json("chain", "list");
  assertIncludes(JSON.stringify(chain), "restore");
});

platformTest(
  "plan draws a policy; a bad policy is answered with the nearest rule",
  async () => {
    await using root = await btrfsRoot();
    const args = ["snapshot", "plan", "--every", "1h", "--for", "30d"];
    const { runs, most } = await root.json(
      ...args,
      "--policy",
      "keep_hourly=24,keep_daily=7",
    );
    assertEquals(runs, 721);
    assertTrue(most <= 32);
    assertIncludes((await root.run(args)).stdout, "721 rotations, 24 snapshots at most");
    const typo = await root.run([...args, "--policy", "keep_dayly=7"]);
    assertEquals(typo.code, 2);
    assertIncludes(typo.stderr, "did you mean keep_daily");
  },
);

platformTest(
  "send and receive: standard output, files, folders; replicate from the config",
  async () => {
    await using root = await btrfsRoot();
    await using disk = await btrfsScratch();
    const { name } = await root.json("snapshot", "create", "--target", "state");
    const stream = await root.run(["snapshot", "send", name, "--to", "-"]);
    assertEquals(stream.code, 0, stream.stderr);
    const folder = `${disk.path}/in`;
    const got = await root.run(["snapshot", "receive", "--folder", folder, "--json"], {
      stdin: stream.stdoutBytes,
    });
    assertEquals(got.code, 0, got.stderr);
    const { uuid } =
      (await root.json("snapshot", "list", "--target", "state")).snapshots[0];
    assertEquals(JSON.parse(got.stdout).received_uuid, uuid);
    const file = `${disk.path}/s.btrfs.zst`;
    await root.json("snapshot", "send", name, "--to", file);
    assertEquals((await root.run(["snapshot", "send", name, "--to", file])).code, 2);
    const twice = await root.run(["snapshot", "receive", "--folder", folder, file]);
    assertIncludes(twice.stderr, "exists");
    const listed = await root.json("snapshot", "list", "--folder", folder);
    assertEquals(listed.snapshots.length, 1);
    for (const verb of [["list"], ["verify", name], ["delete", name, "--yes"]]) {
      const here = await root.run(["snapshot", ...verb, "--folder", "in"], {
        cwd: disk.path,
      });
      assertEquals(here.code, 0, here.stderr);
      assertIncludes(here.stdout, name);
    }
    const truncated = await root.run(["snapshot", "receive", "--folder", folder], {
      stdin: stream.stdoutBytes.subarray(0, stream.stdoutBytes.length - 20),
    });
    assertEquals(truncated.code, 2);
    assertIncludes(truncated.stderr, "Cannot take the stream standard input: ");
    await Deno.writeTextFile(`${disk.path}/text`, "hello\n");
    for (
      const [given, said] of [
        ["text", `Cannot take the stream ${disk.path}/text: it does not begin`],
        ["nothing", `Cannot read ${disk.path}/nothing: there is no such file`],
        ["in", `Cannot read ${disk.path}/in: it is a folder`],
      ]
    ) {
      const args = ["snapshot", "receive", "--folder", "in", given!];
      const refused = await root.run(args, { cwd: disk.path });
      assertEquals(refused.code, 2, refused.stderr);
      assertIncludes(refused.stderr, said!);
    }
    assertEquals((await sh("ls", "-A", folder)).trim(), "");

    const config = `${disk.path}/config.toml`;
    await Deno.writeTextFile(
      config,
      `[snapshot.replicas.disk]\nto = "${disk.path}/backup"\ntargets = ["state"]\n` +
        `policy = "away"\n[snapshot.policies.away]\nkeep_last = 2\n`,
    );
    for (let i = 0; i < 3; i++) {
      const run = await root.run([
        "--config",
        config,
        "snapshot",
        "replicate",
        "--quiet",
      ]);
      assertEquals([run.code, run.stdout, run.stderr], [0, "", ""]);
    }
    const away = await root.json("snapshot", "list", "--folder", `${disk.path}/backup`);
    assertEquals(away.snapshots.length, 2);
    const none = await root.run(["snapshot", "replicate"]);
    assertEquals(none.code, 2);
  },
);

platformTest(
  "install-timer: shown, written, checked by systemd; cron runs the line",
  async () => {
    await using root = await btrfsRoot();
    await using scratch = await btrfsScratch();
    const into = scratch.path;
    const exe = `${into}/op-dbus`;
    const [program, ...before] = (await import("../support/cli.ts")).cliCommand();
    await Deno.writeTextFile(
      exe,
      `#!/bin/sh\nexec ${program} ${before.join(" ")} "$@"\n`,
    );
    await Deno.chmod(exe, 0o755);
    const common = ["snapshot", "install-timer", "--exe", exe, "--into", into];
    const inForce = { env: { OPDBUS_CONFIG: "/dev/null" } };
    const shown = await root.run([...common, "--print"], inForce);
    const start = `ExecStart=${exe} --root ${root.path} --config /dev/null`;
    assertIncludes(shown.stdout, start);
    assertIncludes(shown.stdout, " snapshot rotate --quiet\n");
    const elsewhere = { cwd: "/tmp", env: { OPDBUS_CONFIG: "" } };
    const relative = ["--config", "../dev/null", ...common, "--replicate", "--print"];
    const other = await root.run(relative, elsewhere);
    assertIncludes(other.stdout, "--config /tmp/../dev/null snapshot replicate");
    assertIncludes(other.stdout, `# ${into}/op-dbus-replicate.service\n`);
    assertEquals((await root.run(common)).code, 4);
    const { written } = await root.json(...common, "--every", "15m", "--yes");
    assertEquals(written.length, 2);
    if (await has("systemd-analyze")) await sh("systemd-analyze", "verify", ...written);
    assertEquals((await root.json(...common, "--every", "15m", "--yes")).written, []);
    const cron = await root.json(...common, "--cron", "--yes");
    const line = cron.files[0].text.split("\n").at(-2);
    assertIncludes(line, `0 * * * * root ${exe} --root`);
    // As cron runs it: sh -c, its bare environment, no terminal.
    const command = line.split(" ").slice(6).join(" ");
    await sh(
      "env",
      "-i",
      "HOME=/root",
      "LOGNAME=root",
      "SHELL=/bin/sh",
      "PATH=/usr/bin:/bin",
      ...denoDir(),
      "/bin/sh",
      "-c",
      command,
    );
    assertEquals((await root.json("snapshot", "list")).snapshots.length, 1);
    for (const every of ["7m", "5h", "2d", "90s"]) {
      assertEquals(
        (await root.run([...common, "--every", every, "--print"])).code,
        2,
        every,
      );
    }
    await Deno.writeTextFile(`${into}/op-dbus-snapshot-state.timer`, "[Timer]\n");
    const foreign = await root.run([...common, "state", "--yes"]);
    assertIncludes(foreign.stderr, "not ours");
  },
);

/** The source needs Deno's cache; the executable needs nothing. */
function denoDir(): string[] {
  const dir = Deno.env.get("DENO_DIR");
  return dir === undefined ? [] : [`DENO_DIR=${dir}`];
}

async function has(program: string): Promise<boolean> {
  return await sh("sh", "-c", `command -v ${program}`).then(() => true, () => false);
}
