import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { cliCommand } from "../support/cli.ts";
import { btrfsScratch, canMountBtrfs, sh } from "../support/scratch.ts";
import { hasSshd, testSshd } from "../support/sshd.ts";
import { testRoot } from "../support/root.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import { isLeftover } from "../../lib/snapshot/replica.ts";
import { parseShow, sshReplica } from "../../lib/snapshot/replica_ssh.ts";
import { listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { replicate } from "../../lib/snapshot/replicate.ts";
import { parseSshUrl, shellQuote } from "../../lib/snapshot/ssh.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";

const HOUR = 3_600_000;
const NOW = Math.floor(Date.now() / 60_000) * 60_000;

/** Needs a real sshd, and btrfs. */
function sshTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, ignore: !hasSshd() || !canMountBtrfs() });
}

for (const remote of ["op-dbus", "btrfs"] as const) {
  sshTest(
    `replicate over ssh to ${remote}: full, difference, pruned there, equal`,
    async () => {
      await using root = await testRoot();
      await using disk = await btrfsScratch();
      await using sshd = await testSshd();
      const state = root.target("state"), folder = `${disk.path}/it's a "folder" $(x)`;
      await Deno.mkdir(folder);
      const replica = await sshReplica(sshd.url + folder, {
        remote,
        program: ["ssh", "-F", sshd.config],
        ...(remote === "op-dbus" && { command: cliCommand() }),
      });
      const remotePolicy = parsePolicy("keep_last=2");
      for (let i = 0; i < 3; i++) {
        await Deno.writeFile(`${state.path}/f${i}`, new Uint8Array(300_000).fill(i));
        await sh("cp", "--reflink=always", `${state.path}/f${i}`, `${state.path}/c${i}`);
        const { outcomes } = await replicate(state, [replica], {
          nowMs: NOW + i * HOUR,
          remotePolicy,
        });
        assertEquals(outcomes[0]!.error, null);
        const [sent] = outcomes[0]!.sent;
        assertEquals([sent!.parent === null, sent!.verified], [i === 0, true]);
      }
      const here = listFound(state), there = listReplicas(folder);
      assertEquals(there.length, 2);
      const newest = here.at(-1)!;
      const copy = there.find(({ name }) => name === newest.name)!;
      assertEquals([copy.receivedUuid, copy.readOnly], [newest.info.uuid, true]);
      assertEquals(
        await digestOfFolder(`${folder}/${newest.name}`),
        await digestOfFolder(newest.path),
      );
    },
  );
}

/** A `btrfs` on whose disk a byte has changed: what it sends is not what it received. */
const BAD_DISK = `#!/bin/sh
[ "$1" = send ] || exec btrfs "$@"
for last; do :; done
bad="$last.bad"
{
  btrfs subvolume snapshot "$last" "$bad"
  printf X | dd of="$bad/note" bs=1 seek=2 conv=notrunc
  btrfs property set "$bad" ro true
} >/dev/null 2>&1
btrfs send -q "$bad"
code=$?
btrfs subvolume delete "$bad" >/dev/null
exit $code
`;

sshTest("one changed byte at plain btrfs is noticed, and removed there", async () => {
  await using root = await testRoot();
  await using disk = await btrfsScratch();
  await using sshd = await testSshd();
  const state = root.target("state"), folder = `${disk.path}/away`;
  await Deno.writeTextFile(`${state.path}/note`, "as it was");
  const command = `${root.mount}/btrfs`;
  await Deno.writeTextFile(command, BAD_DISK, { mode: 0o755 });
  const replica = await sshReplica(sshd.url + folder, {
    remote: "btrfs",
    command: [command],
    program: ["ssh", "-F", sshd.config],
  });
  const { outcomes } = await replicate(state, [replica], { nowMs: NOW });
  assertEquals(outcomes[0]!.error?.code, "digest_mismatch");
  assertEquals(listReplicas(folder), []);
  const unread = await replicate(state, [replica], { create: false, verify: false });
  assertEquals([unread.outcomes[0]!.error, unread.outcomes[0]!.sent[0]!.verified], [
    null,
    false,
  ]);
});

sshTest(
  "a host that is away, a command that is not there: said in one line",
  async () => {
    await using root = await testRoot();
    await using sshd = await testSshd();
    const program = ["ssh", "-F", sshd.config];
    const away = await sshReplica("ssh://root@127.0.0.1:9/x", {
      remote: "btrfs",
      program,
    });
    const state = root.target("state");
    const { outcomes } = await replicate(state, [away], { nowMs: NOW });
    assertEquals(outcomes[0]!.error?.code, "ssh_failed");
    assertIncludes(outcomes[0]!.error!.message, "Cannot reach root@127.0.0.1 by ssh");
    const wrong = await sshReplica(`${sshd.url}/x`, {
      remote: "op-dbus",
      command: ["no-such-op-dbus"],
      program,
    });
    const second = await replicate(state, [wrong], { create: false });
    assertEquals(second.outcomes[0]!.error?.code, "remote_failed");
  },
);

Deno.test("ssh addresses: what they are, and nothing that ssh takes for an option", () => {
  assertEquals(parseSshUrl("ssh://me@nas.example:2222/srv/backup/"), {
    user: "me",
    host: "nas.example",
    port: 2222,
    path: "/srv/backup",
  });
  assertEquals(parseSshUrl("ssh://[fe80::1]/b").host, "fe80::1");
  for (
    const bad of [
      "ssh://host",
      "ssh://-oProxyCommand=x/b",
      "ssh://-l@host/b",
      "ssh://a b/c",
      "ssh://host:0/b",
      "ssh://host:99999/b",
      "ssh://host/a/../b",
      "ssh://ho\nst/b",
      "ssh://host/a\nb",
      "http://host/b",
      "ssh://u;x@host/b",
    ]
  ) assertThrows(() => parseSshUrl(bad), InputError);
});

Deno.test("a host that answers something else is told, whatever it says", async () => {
  const saying = (answer: string) => ({
    remote: "op-dbus" as const,
    program: ["sh", "-c", `printf %s ${shellQuote(answer)}`],
  });
  const anything = ["", "x", "null", "[]", "{}", "7", '"snapshots"'];
  const inside = ["null", "{}", "[]", "[null]", "[{}]", '[{"name":1,"uuid":2}]'];
  for (const answer of [...anything, ...inside.map((it) => `{"snapshots":${it}}`)]) {
    const replica = await sshReplica("ssh://host/srv", saying(answer));
    const nothing = async function* () {};
    const runs = {
      list: () => replica.list(),
      digest: () => replica.digest("one"),
      receive: () => replica.receive(nothing(), { name: "one", uuid: "u" }),
    };
    for (const [verb, run] of Object.entries(runs)) {
      if (verb === "list" && answer === '{"snapshots":[]}') continue;
      const error = await assertRejects(run, OpError);
      assertEquals(error.code, "remote_failed", `${verb} ${answer}: ${error.message}`);
    }
  }
});

Deno.test("every argument comes out of a POSIX shell as it went in", async () => {
  const odd = [
    "",
    "a b",
    "it's",
    '"',
    "$(id)",
    "`id`",
    "a\nb",
    "*",
    "-n",
    "\\",
    "ü",
    ";",
    "'",
  ];
  for (const shell of ["sh", "bash"]) {
    const command = ["printf", "%s\\0", ...odd].map(shellQuote).join(" ");
    const out = await sh(shell, "-c", command);
    assertEquals(out.split("\0").slice(0, -1), odd);
  }
});

Deno.test("what `btrfs subvolume show` says of several, one after the other", () => {
  const block = (name: string, received: string, flags: string, transid = 0) =>
    `backup/${name}\n\tName: \t\t\t${name}\n\tUUID: \t\t\tu-${name}\n\tParent UUID: \t\t-\n` +
    `\tReceived UUID: \t\t${received}\n\tFlags: \t\t\t${flags}\n` +
    `\tReceive transid: \t${transid}\n\tSnapshot(s):\n`;
  const parsed = parseShow(
    block("a", "r-a", "readonly", 7) + block("b", "-", "-") + block("c", "-", "-", 9),
  );
  assertEquals(parsed.map((one) => isLeftover(one, one.name)), [false, true, false]);
  assertEquals(parsed, [
    { name: "a", uuid: "u-a", receivedUuid: "r-a", readOnly: true, wasReceived: true },
    { name: "b", uuid: "u-b", receivedUuid: null, readOnly: false, wasReceived: false },
    { name: "c", uuid: "u-c", receivedUuid: null, readOnly: false, wasReceived: true },
  ]);
  assertTrue(parseShow("").length === 0);
});
