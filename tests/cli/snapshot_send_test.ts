/** send, receive and replicate as people meet them: what is away, what is in the way. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { spawnCli } from "../support/cli.ts";
import { btrfsRoot } from "../support/cli_root.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { onTerminal } from "../support/terminal.ts";

platformTest(
  "a host that is down and a disk that is away stop nothing else",
  async () => {
    await using root = await btrfsRoot();
    await using disk = await btrfsScratch();
    const down = "ssh://root@127.0.0.1:1/srv", away = "/dev/shm/op-dbus-no-disk";
    const to = [down, away, `${disk.path}/a`].flatMap((place) => ["--to", place]);
    const run = await root.run(["snapshot", "replicate", "state", "--json", ...to]);
    assertEquals(run.code, 1);
    assertIncludes(run.stderr, "Cannot reach root@127.0.0.1");
    assertIncludes(run.stderr, "not btrfs");
    const { replications: [{ created, replicas }] } = JSON.parse(run.stdout);
    assertEquals(
      replicas.map((r: { sent: { name: string }[]; error: { code: string } | null }) => [
        r.sent.map(({ name }) => name),
        r.error?.code ?? null,
      ]),
      [[[], "ssh_failed"], [[], "not_btrfs"], [[created], null]],
    );
    // The same from the config, one place after the other; the first is the one that is down.
    const config = `${disk.path}/config.toml`;
    await Deno.writeTextFile(
      config,
      `[snapshot.replicas.down]\nto = "${down}"\n[snapshot.replicas.disk]\n` +
        `to = "${disk.path}/b"\n`,
    );
    const cron = ["--config", config, "snapshot", "replicate", "state", "--quiet"];
    const second = await root.run(cron);
    assertEquals([second.code, second.stdout], [1, ""]);
    assertEquals(second.stderr.trim().split("\n").length, 1, second.stderr);
    const { snapshots } = await root.json(
      "snapshot",
      "list",
      "--folder",
      `${disk.path}/b`,
    );
    assertEquals(snapshots.length, 1);
    assertEquals(
      (await root.run(["snapshot", "replicate", "--to", "ssh://-x/y"])).code,
      2,
    );
  },
);

platformTest("what lies in the way of a receive is not deleted", async () => {
  await using root = await btrfsRoot();
  await using disk = await btrfsScratch();
  const { name } = await root.json("snapshot", "create", "--target", "state");
  const file = `${disk.path}/s.btrfs`;
  await root.json("snapshot", "send", name, "--to", file);
  const receive = (as: string) =>
    root.run(["snapshot", "receive", "--folder", disk.path, "--name", as, file]);
  for (const there of ["www", name]) {
    if (there === name) await receive(name);
    else await sh("btrfs", "subvolume", "create", `${disk.path}/${there}`);
    // A copy that somebody works on: writable, and no longer marked as received.
    await sh("btrfs", "property", "set", "-f", `${disk.path}/${there}`, "ro", "false");
    await Deno.writeTextFile(`${disk.path}/${there}/precious`, "mine");
    const { code, stderr } = await receive(there);
    assertTrue(code !== 0, there);
    assertIncludes(stderr, "exists");
    assertEquals(await Deno.readTextFile(`${disk.path}/${there}/precious`), "mine");
  }
  // What a `btrfs receive` leaves that was cut off is still swept away.
  const cut = "state@2025-01-15-10:00";
  await sh("btrfs", "subvolume", "create", `${disk.path}/${cut}`);
  assertEquals((await receive(cut)).code, 0);
});

platformTest("what cannot be sent is not passed over in silence", async () => {
  await using root = await btrfsRoot();
  await using disk = await btrfsScratch();
  await root.json("snapshot", "create", "--target", "state");
  const folder = `${root.path}/@state-snapshots`, foreign = "state@2025-01-01-00:00";
  await sh(
    "btrfs",
    "subvolume",
    "snapshot",
    `${root.path}/@timing`,
    `${folder}/${foreign}`,
  );
  const send = ["snapshot", "send", foreign, "--to"];
  const writable = await root.run([...send, `${disk.path}/in`]);
  assertEquals(writable.code, 2);
  assertIncludes(writable.stderr, "it is writable");
  await sh("btrfs", "property", "set", `${folder}/${foreign}`, "ro", "true");
  const other = await root.run([...send, `${disk.path}/in`]);
  assertEquals(other.code, 2);
  assertIncludes(other.stderr, "it is no snapshot of this target");
  assertEquals((await root.run([...send, `${disk.path}/f.btrfs`])).code, 0);
  const parent = [...send, `${disk.path}/in`, "--parent", foreign];
  assertIncludes((await root.run(parent)).stderr, "Cannot choose the parent");
  const two = await root.run([...send, "-", "--to", `${disk.path}/in`]);
  assertEquals(two.code, 2);
  assertIncludes(two.stderr, "Cannot send to - and to others at once");
});

platformTest("a new folder beside the source: is the disk mounted?", async () => {
  await using root = await btrfsRoot();
  const place = `${root.scratch.path}/mnt/backup`;
  const replicate = ["snapshot", "replicate", "state", "--quiet", "--to", place];
  const first = await root.run(replicate);
  assertEquals(first.code, 0);
  assertIncludes(first.stderr, "is the disk for it mounted?");
  assertEquals((await root.run(replicate)).stderr, "");
});

platformTest("a slow reader of a stream: a bar with rate and time left", async () => {
  await using root = await btrfsRoot();
  await Deno.writeFile(`${root.path}/@state/big`, randomBytes(8));
  const { name } = await root.json("snapshot", "create", "--target", "state");
  const fifo = `${root.scratch.path}/fifo`, args = ["--root", root.path, "snapshot"];
  await sh("mkfifo", fifo);
  const terminal = onTerminal([...args, "send", name, "--to", "-"], { stdout: fifo });
  const reader = await Deno.open(fifo);
  await terminal.shows(`Sending ${name}`); // nothing is read until the bar is there
  await terminal.shows(" left");
  const stream = new Uint8Array(await new Response(reader.readable).arrayBuffer());
  const { code, screen } = await terminal.ended();
  assertEquals(code, 0);
  assertIncludes(screen, /\d%\D+ [\d.]+ \w+\/[\d.]+ MiB \| [\d.]+ \w*B\/s \| \S+ left/);
  const file = `${root.scratch.path}/whole.btrfs`;
  await root.json("snapshot", "send", name, "--to", file);
  assertEquals(stream, await Deno.readFile(file));
});

platformTest(
  "a reader that leaves early: the stream is not whole, and so it fails",
  async () => {
    await using root = await btrfsRoot();
    await Deno.writeFile(`${root.path}/@state/big`, randomBytes(8));
    const { name } = await root.json("snapshot", "create", "--target", "state");
    for (const limit of [[], ["--limit", "1G"]]) {
      const child = spawnCli([
        ...["--root", root.path, "snapshot", "send", name, "--to", "-"],
        ...limit,
      ]);
      await child.stdin.close();
      await child.stdout.cancel();
      const [{ code }, stderr] = await Promise.all([
        child.status,
        new Response(child.stderr).text(),
      ]);
      assertEquals(code, 1);
      assertIncludes(stderr, /^op-dbus: Cannot send .*Broken pipe/);
    }
  },
);

function randomBytes(sizeMb: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeMb * 2 ** 20);
  for (let at = 0; at < bytes.length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
}
