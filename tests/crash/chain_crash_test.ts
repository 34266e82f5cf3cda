import { Layout } from "../../lib/base/layout.ts";
import { OpError } from "../../lib/base/errors.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { verifyChain } from "../../lib/chain/verify.ts";
import { chainOf, content } from "../chain/support.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";

const CHILD = new URL("./chain_child.ts", import.meta.url).pathname;

function child(...args: string[]) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", CHILD, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

function ackedIn(output: Uint8Array): string[] {
  return [...new TextDecoder().decode(output).matchAll(/^acked ([0-9a-f]{64})$/gm)]
    .map(([, hash]) => hash!);
}

function hashesOf(folder: string): Set<string> {
  using reader = new ChainReader(folder);
  return new Set(
    Array.from({ length: reader.size }, (_, n) => reader.readRaw(n).leaf.toHex()),
  );
}

/** Sound, before and after the next append, and nothing that was acknowledged is gone. */
async function checkAfterCrash(layout: Layout, acked: readonly string[], what: string) {
  const before = await verifyChain(layout.timing);
  assertEquals(before.faults, [], `${what}: before the next append`);
  using ledger = new Ledger(layout);
  await ledger.append(content(999));
  const after = await verifyChain(layout.timing);
  assertEquals([after.faults, after.notes], [[], []], `${what}: after the next append`);
  const there = hashesOf(layout.timing);
  for (const hash of acked) assertTrue(there.has(hash), `${what}: ${hash} is gone`);
}

Deno.test("kill -9 before any call of an append leaves a sound chain", async () => {
  const { layout, scratch } = await chainOf(3);
  await using _ = scratch;
  let finished = false, calls = 0;
  const tryCall = async (n: number) => {
    await using copy = await tempFolder("op-dbus-chain-kill-");
    await sh("cp", "-r", `${layout.root}/.`, copy.path);
    const { stdout, stderr, code } = await child("kill", copy.path, String(n)).output();
    if (code === 0) finished = true;
    else assertEquals(code, 128 + 9, new TextDecoder().decode(stderr));
    await checkAfterCrash(new Layout(copy.path), ackedIn(stdout), `call ${n}`);
  };
  for (; !finished; calls += 2) {
    await Promise.all([tryCall(calls + 1), tryCall(calls + 2)]);
  }
  assertTrue(calls > 100, `only ${calls} calls`);
});

Deno.test("a full disk refuses appends, keeps the chain, and works again with space", async () => {
  await using scratch = await tempFolder();
  const mount = `${scratch.path}/small`;
  await Deno.mkdir(mount);
  await sh("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount);
  try {
    const layout = new Layout(mount);
    const acked: string[] = [];
    using ledger = new Ledger(layout);
    const failure = await assertRejects(async () => {
      for (;;) acked.push((await ledger.append(content(acked.length))).hash);
    }, OpError);
    assertEquals(failure.code, "no_space");
    assertTrue(acked.length > 20);
    assertTrue((await verifyChain(layout.timing)).ok);
    await sh("mount", "-o", "remount,size=4m", mount);
    await checkAfterCrash(layout, acked, "disk full");
  } finally {
    await sh("umount", mount);
  }
});

platformTest("what was acknowledged survives a power cut", async () => {
  for (let round = 0; round < 3; round++) {
    await using disk = await btrfsScratch(256);
    const writer = child("append", disk.path, "0").spawn();
    const acked = await ackedUntil(writer, 300 + 400 * round);
    // Stopped, and copied without a sync: what only memory holds is lost to the copy.
    writer.kill("SIGSTOP");
    const copy = `${disk.image}.copy`, mount = `${disk.image}.mnt`;
    await sh("cp", "--sparse=always", disk.image, copy);
    writer.kill("SIGKILL");
    await writer.status;
    await Deno.mkdir(mount);
    await sh("umount", disk.path); // btrfs refuses a second image of the same identity
    await using _taken = await takeDevices(disk.image);
    await sh("mount", "-o", "loop", copy, mount);
    try {
      const notices: string[] = [];
      const layout = new Layout(mount);
      using ledger = new Ledger(layout, { onNotice: (notice) => notices.push(notice) });
      await ledger.append(content(999));
      const report = await verifyChain(layout.timing);
      assertEquals(report.faults, [], notices.join("\n"));
      const there = hashesOf(layout.timing);
      assertEquals(acked.filter((hash) => !there.has(hash)), []);
      assertTrue(acked.length >= 300);
      assertTrue(notices.some((notice) => notice.includes("restored from the journal")));
    } finally {
      await sh("umount", mount);
      await sh("mount", "-t", "tmpfs", "tmpfs", disk.path); // for the scratch to unmount
    }
  }
});

/**
 * Takes the device numbers that an unmounted file system left, so that the next one gets
 * others, as after a restart.
 */
async function takeDevices(beside: string): Promise<AsyncDisposable> {
  const folders = [1, 2, 3, 4].map((n) => `${beside}.taken${n}`);
  for (const folder of folders) {
    await Deno.mkdir(folder);
    await sh("mount", "-t", "tmpfs", "tmpfs", folder);
  }
  return {
    [Symbol.asyncDispose]: () => sh("umount", ...folders).then(() => {}),
  };
}

/** The first so many acknowledgements of a child that goes on. */
async function ackedUntil(writer: Deno.ChildProcess, count: number): Promise<string[]> {
  let text = "";
  const reader = writer.stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the writer ended");
    text += value;
    const acked = ackedIn(new TextEncoder().encode(text));
    if (acked.length >= count) {
      reader.cancel().catch(() => {}); // the writer is about to be killed
      return acked;
    }
  }
}

Deno.test("eight processes appending at once make one chain without gaps", async () => {
  const { layout, scratch } = await chainOf(0);
  await using _ = scratch;
  const appending = Promise.all(
    Array.from({ length: 8 }, () => child("append", layout.root, "1000").output()),
  );
  let ended = false;
  void appending.then(() => ended = true);
  for (let look = 0; look < 3 && !ended; look++) { // sound also while it grows
    const { faults } = await verifyChain(layout.timing);
    assertEquals(faults, []);
  }
  const runs = await appending;
  const text = new TextDecoder();
  assertEquals(runs.map(({ stderr }) => text.decode(stderr)), Array(8).fill(""));
  const acked = runs.flatMap(({ stdout }) => ackedIn(stdout));
  const report = await verifyChain(layout.timing);
  assertEquals([report.ok, report.notes, report.blocks], [true, [], acked.length + 1]);
  assertTrue(acked.length >= 8000);
  assertEquals(new Set(acked).size, acked.length);
  const there = hashesOf(layout.timing);
  assertTrue(acked.every((hash) => there.has(hash)));
});
