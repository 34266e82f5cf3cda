import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import {
  openFolder,
  setReadOnly,
  setReceived,
  subvolumeInfoAt,
} from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { markSending } from "../../lib/snapshot/confirm.ts";
import { type Created, createSnapshot } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import type { Replica } from "../../lib/snapshot/replica.ts";
import { folderReplica, listReplicas } from "../../lib/snapshot/replica_folder.ts";
import { replicate } from "../../lib/snapshot/replicate.ts";
import { rotate } from "../../lib/snapshot/rotate.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";

const HOUR = 3_600_000;
const NOW = Math.floor(Date.now() / 60_000) * 60_000;
const there = (folder: string) => listReplicas(folder).map(({ name }) => name).sort();

async function fill(path: string, files: number, seed: number): Promise<void> {
  for (let i = 0; i < files; i++) {
    const bytes = new Uint8Array(20_000).map((_, n) => (n * (i + seed)) % 251);
    await Deno.writeFile(`${path}/file-${i}`, bytes);
  }
}

platformTest(
  "replicate: full, then differences; both sides pruned; contents equal",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), folder = `${disk.path}/backup/state`;
    await fill(state.path, 30, 1);
    const options = {
      policy: parsePolicy("keep_last=2"),
      remotePolicy: parsePolicy("keep_last=3"),
    };
    const parents = [];
    for (let i = 6; i > 0; i--) {
      await Deno.writeTextFile(`${state.path}/change`, `${i}`);
      const { outcomes } = await replicate(state, [folderReplica(folder)], {
        ...options,
        nowMs: NOW + (6 - i) * HOUR,
      });
      assertEquals(outcomes[0]!.error, null);
      assertEquals(outcomes[0]!.sent.length, 1);
      assertEquals(outcomes[0]!.sent[0]!.verified, true);
      parents.push(outcomes[0]!.sent[0]!.parent);
    }
    assertEquals(parents[0], null);
    assertTrue(parents.slice(1).every((parent) => parent !== null));
    assertEquals(listFound(state).length, 2);
    assertEquals(there(folder).length, 3);
    const newest = listFound(state).at(-1)!;
    assertEquals(newest.holds.map(({ tag }) => tag), [`replica ${folder}`]);
    assertEquals(
      await digestOfFolder(`${folder}/${newest.name}`),
      await digestOfFolder(newest.path),
    );
    const again = await replicate(state, [folderReplica(folder)], { create: false });
    assertEquals(again.outcomes[0]!.sent, []);
  },
);

platformTest(
  "what a receive was killed before it became visible is no base",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), folder = `${disk.path}/away`;
    await fill(state.path, 3, 1);
    await replicate(state, [folderReplica(folder)], { nowMs: NOW - 2 * HOUR });
    await Deno.writeTextFile(`${state.path}/change`, "changed");
    await replicate(state, [folderReplica(folder)], { nowMs: NOW - HOUR });
    // Received, marked and read-only, and killed before its last rename.
    const [first, second] = listFound(state);
    const hidden = `${folder}/.op-dbus-receive-1-0123456789abcdef`;
    await Deno.rename(`${folder}/${second!.name}`, hidden);
    markSending(state, second!.name, folderReplica(folder));
    const { outcomes } = await replicate(state, [folderReplica(folder)], {
      create: false,
    });
    assertEquals(outcomes[0]!.error, null);
    const sent = outcomes[0]!.sent.map(({ name, parent }) => [name, parent]);
    assertEquals(sent, [[second!.name, first!.name]]);
    assertEquals((await sh("ls", "-A", folder)).trim().split("\n"), there(folder));
  },
);

platformTest(
  "several receivers in one pass; one that fails or is behind does not stop others",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state");
    await fill(state.path, 20, 2);
    const [a, b, c] = ["a", "b", "c"].map((name) =>
      folderReplica(`${disk.path}/${name}`)
    );
    await replicate(state, [a!, b!], { nowMs: NOW - 3 * HOUR });
    await Deno.writeTextFile(`${state.path}/more`, "more");
    let failed = 0;
    const broken: Replica = {
      ...c!,
      label: "broken",
      async receive(chunks) {
        for await (const _ of chunks) {
          failed++;
          throw new OpError("no_space", "its disk is full");
        }
        throw new Error("no chunk came");
      },
    };
    const { outcomes } = await replicate(state, [a!, broken, b!, c!], {
      nowMs: NOW - 2 * HOUR,
    });
    assertEquals(outcomes.map(({ sent }) => sent.length), [1, 0, 1, 1]);
    assertEquals(outcomes.map(({ sent }) => sent[0]?.parent === null), [
      false,
      false,
      false,
      true,
    ]);
    assertIncludes(outcomes[1]!.error!.message, "its disk is full");
    assertEquals(failed, 1);
    const tags = listFound(state).map(({ holds }) => holds.length);
    assertEquals(tags, [0, 4]); // one of them marks what "broken" did not get
    for (const name of ["a", "b", "c"]) {
      assertEquals(
        await digestOfFolder(`${disk.path}/${name}/${listFound(state)[1]!.name}`),
        await digestOfFolder(listFound(state)[1]!.path),
      );
    }
  },
);

platformTest(
  "a receiver that was away gets all that it missed; its common one was held",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), folder = `${disk.path}/backup`;
    await replicate(state, [folderReplica(folder)], { nowMs: NOW });
    for (let i = 8; i > 0; i--) {
      await Deno.writeTextFile(`${state.path}/f${i}`, `${i}`);
      await rotate(state, parsePolicy("keep_last=3"), { nowMs: NOW + (9 - i) * HOUR });
    }
    assertEquals(listFound(state).length, 4); // three, and the held one
    const { outcomes } = await replicate(state, [folderReplica(folder)], {
      nowMs: NOW + 9 * HOUR,
    });
    assertEquals(outcomes[0]!.sent.length, 4);
    assertTrue(outcomes[0]!.sent.every(({ parent }) => parent !== null));
    assertEquals(there(folder).length, 5);
    const { deleted } = await rotate(state, parsePolicy("keep_last=1"), {
      nowMs: NOW + 10 * HOUR,
    });
    assertEquals(deleted.length, 4);
  },
);

platformTest(
  "an interrupted receive is thrown away and the next run starts from the common one",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), folder = `${disk.path}/backup`;
    await fill(state.path, 5, 3);
    const first = await replicate(state, [folderReplica(folder)], { nowMs: NOW - HOUR });
    await fill(state.path, 30, 4);
    const stop = new AbortController();
    await assertRejects(() =>
      replicate(state, [folderReplica(folder)], {
        nowMs: NOW,
        signal: stop.signal,
        progress: () => stop.abort(new OpError("interrupted", "stopped")),
      }), OpError);
    assertEquals(there(folder), [first.created!.name]);
    // What a stock `btrfs receive` that was killed leaves: a writable one under the name.
    const name = listFound(state).at(-1)!.name;
    await sh("btrfs", "subvolume", "create", `${folder}/${name}`);
    const { outcomes } = await replicate(state, [folderReplica(folder)], {
      create: false,
    });
    assertEquals(outcomes[0]!.error, null);
    assertEquals(outcomes[0]!.sent.map(({ parent }) => parent), [first.created!.name]);
  },
);

platformTest(
  "other content at the other side is found by digest, and removed there",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), real = folderReplica(`${disk.path}/backup`);
    const lying: Replica = { ...real, digest: () => Promise.resolve("0".repeat(64)) };
    const { outcomes } = await replicate(state, [lying], {});
    assertEquals(outcomes[0]!.error?.code, "digest_mismatch");
    assertEquals(there(`${disk.path}/backup`), []);
    const off = await replicate(state, [lying], { create: false, verify: false });
    assertEquals(off.outcomes[0]!.sent[0]!.verified, false);
    const holds = listFound(state)[0]!.holds.map(({ tag }) => tag);
    assertEquals(holds, [`replica ${disk.path}/backup`]);
  },
);

/** What a crash may leave of a `btrfs receive`: the mark, and not all of the content. */
async function halfReceived(folder: string, made: Created): Promise<void> {
  const path = `${folder}/${made.name}`;
  await sh("btrfs", "subvolume", "create", path);
  await sh("cp", "-a", `${made.path}/file-1`, path);
  withFd(openFolder(path), (fd) => {
    setReceived(fd, made.uuid, subvolumeInfoAt(made.path).ctransid);
    setReadOnly(fd, true);
  });
}

platformTest(
  "what a crash left of a snapshot is not built upon, although it is marked as received",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), folder = `${disk.path}/backup`;
    const away = folderReplica(folder);
    await Deno.mkdir(folder);
    await fill(state.path, 10, 5);
    for (const verify of [true, false]) {
      await Deno.writeTextFile(`${state.path}/last`, `${verify}`);
      const made = await createSnapshot(state);
      await halfReceived(folder, made);
      markSending(state, made.name, away); // as the run did that was cut off
      const { outcomes } = await replicate(state, [away], { create: false, verify });
      assertEquals(outcomes[0]!.error, null);
      assertEquals(outcomes[0]!.sent.map(({ name }) => name), [made.name]);
      assertEquals(
        await digestOfFolder(`${folder}/${made.name}`),
        await digestOfFolder(made.path),
      );
    }
  },
);

platformTest(
  "what was whole when its confirmation was cut off is confirmed, not sent again",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state"), away = folderReplica(`${disk.path}/backup`);
    await fill(state.path, 3, 6);
    const deaf: Replica = { ...away, digest: () => Promise.reject(new Error("cut off")) };
    const first = await replicate(state, [deaf]);
    assertIncludes(first.outcomes[0]!.error!.message, "cut off");
    const { outcomes } = await replicate(state, [away], { create: false });
    assertEquals([outcomes[0]!.error, outcomes[0]!.sent], [null, []]);
    const holds = listFound(state)[0]!.holds.map(({ tag }) => tag);
    assertEquals(holds, [`replica ${disk.path}/backup`]);
  },
);

platformTest(
  "streams go to `btrfs receive` and come from `btrfs send`, equal both ways",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch();
    const state = root.target("state");
    await fill(state.path, 10, 5);
    await Deno.symlink("file-1", `${state.path}/link`);
    await Deno.chmod(`${state.path}/file-2`, 0o4751);
    await Deno.chown(`${state.path}/file-3`, 1234, 4321);
    await Deno.link(`${state.path}/file-4`, `${state.path}/hard`);
    await sh("setfattr", "-n", "user.note", "-v", "kept", `${state.path}/file-5`);
    await sh("mkfifo", `${state.path}/fifo`);
    const a = await createSnapshot(state, { nowMs: NOW - HOUR });
    await Deno.remove(`${state.path}/file-6`);
    await Deno.rename(`${state.path}/file-7`, `${state.path}/renamed`);
    const b = await createSnapshot(state, { nowMs: NOW });
    const theirs = `${disk.path}/theirs`, ours = `${disk.path}/ours`;
    await Deno.mkdir(theirs);
    const file = (name: string) => `${disk.path}/${name}`;
    await sendToFile(a.path, file("a"));
    await sendToFile(b.path, file("b"), { parent: a.path });
    for (const name of ["a", "b"]) await sh("btrfs", "receive", "-f", file(name), theirs);
    await sh("btrfs", "send", "-q", "-f", file("sa"), a.path);
    await sh("btrfs", "send", "-q", "-p", a.path, "-f", file("sb"), b.path);
    const replica = folderReplica(ours);
    for (const [name, made] of [["sa", a], ["sb", b]] as const) {
      const { fileChunks } = {
        fileChunks: (path: string) => Deno.openSync(path).readable,
      };
      await replica.receive(fileChunks(file(name)), { name: made.name, uuid: made.uuid });
    }
    for (const made of [a, b]) {
      const listing = async (path: string) =>
        await sh(
          "sh",
          "-c",
          `cd "$1" && find . -printf '%P %y %m %U %G %s %l %n %T@\\n' | sort`,
          "sh",
          path,
        );
      const truth = await listing(made.path);
      assertEquals(await listing(`${theirs}/${made.name}`), truth);
      assertEquals(await listing(`${ours}/${made.name}`), truth);
      const digest = await digestOfFolder(made.path);
      assertEquals(await digestOfFolder(`${theirs}/${made.name}`), digest);
      assertEquals(await digestOfFolder(`${ours}/${made.name}`), digest);
    }
  },
);

platformTest(
  "a file: whole or not there; a partial one is continued; another run is locked out",
  async () => {
    await using root = await testRoot();
    const state = root.target("state");
    await fill(state.path, 100, 6);
    const { path } = await createSnapshot(state);
    const at = (name: string) => `${root.mount}/${name}`;
    const whole = await sendToFile(path, at("whole"));
    assertEquals(whole.resumedBytes, 0);
    const bytes = await Deno.readFile(at("whole"));
    await assertRejects(() => sendToFile(path, at("whole")), InputError, /exists/);
    // Continued where the partial one is right, redone where it is not.
    for (const [name, damage] of [["good", -1], ["torn", 700_000]] as const) {
      const part = bytes.slice(0, 1_500_000);
      if (damage >= 0) part.fill(0xff, damage);
      await Deno.writeFile(at(`${name}.part`), part);
      const sent = await sendToFile(path, at(name));
      assertTrue(
        damage < 0 ? sent.resumedBytes === 1_500_000 : sent.resumedBytes <= damage,
      );
      assertEquals(await Deno.readFile(at(name)), bytes);
    }
    await Deno.writeFile(at("long.part"), new Uint8Array([...bytes, 1, 2, 3]));
    await sendToFile(path, at("long"));
    assertEquals(await Deno.readFile(at("long")), bytes);
    const zstd = await sendToFile(path, at("z"), { zstdLevel: 3 });
    const packed = await Deno.readFile(at("z"));
    await Deno.writeFile(at("z2.part"), packed.slice(0, packed.length >> 1));
    const resumed = await sendToFile(path, at("z2"), { zstdLevel: 3 });
    assertEquals([resumed.sizeBytes, resumed.resumedBytes], [
      zstd.sizeBytes,
      packed.length >> 1,
    ]);
    await sh("zstd", "-q", "-t", at("z2"));
  },
);

platformTest("not btrfs: refused with the way out", async () => {
  const error = await assertRejects(
    async () => await folderReplica("/dev/shm/x"),
    InputError,
  );
  assertEquals(error.code, "not_btrfs");
  assertIncludes(error.hint!, "--to /dev/shm/x/NAME.btrfs.zst");
});
