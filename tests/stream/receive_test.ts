import { isReadOnly, openFolder, subvolumeInfoAt } from "../../ffi/btrfs.ts";
import { listFolder } from "../../ffi/directory.ts";
import { close, effectiveUid, pipe, withFd, writeAll } from "../../ffi/files.ts";
import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { StreamError } from "../../lib/stream/error.ts";
import { VerifiedSnapshots } from "../support/verified_snapshots.ts";
import { PLUGIN_LIMITS } from "../../lib/stream/limits.ts";
import { HOST_POLICY, PLUGIN_POLICY } from "../../lib/stream/policy.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { parseSource } from "../../lib/stream/run.ts";
import { sendChunks, sendToFd } from "../../lib/stream/send.ts";
import { bytesSource, chunksSource, fdSource } from "../../lib/stream/source.ts";
import { cleanReceives, Staging } from "../../lib/stream/staging.ts";
import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { concat, header, make, OTHER_UUID, stream } from "../support/stream_builder.ts";

const SIMPLE = stream(
  make.chmod("", 0o755),
  make.mkfile("plugin.toml"),
  make.write("plugin.toml", 0, "[plugin]\n"),
  make.chmod("plugin.toml", 0o644),
  make.mkdir("state"),
  make.chmod("state", 0o750),
  make.symlink("state/up", "../plugin.toml"),
  make.setXattr("state", "user.k", "v"),
  make.utimes("state", 1234567890),
  make.utimes("", 1234567890),
);

function names(folder: string): string[] {
  return listFolder(folder).map(({ name }) => new TextDecoder().decode(name)).sort();
}

/** The same bytes as a pipe gives them: once, in pieces. */
function piped(bytes: Uint8Array) {
  const pieces = async function* () {
    for (let at = 0; at < bytes.length; at += 100) {
      yield await Promise.resolve(bytes.subarray(at, at + 100));
    }
  };
  return chunksSource(pieces(), "pipe");
}

for (const kind of ["file", "pipe"] as const) {
  const source = (bytes: Uint8Array) =>
    kind === "file" ? bytesSource(bytes) : piped(bytes);

  platformTest(
    `a ${kind} becomes a read-only subvolume, marked as received`,
    async () => {
      await using fs = await btrfsScratch();
      const got = await receiveStream(source(SIMPLE), { folder: fs.path, name: "x@v1" });
      assertEquals([got.kind, got.path], ["btrfs", `${fs.path}/x@v1`]);
      assertEquals(got.digest, digestOfFolder(got.path));
      assertEquals(names(fs.path), ["x@v1"]);
      const info = subvolumeInfoAt(got.path);
      assertEquals(info.uuid, got.localUuid);
      assertEquals([info.receivedUuid, info.stransid], [
        "01020304-0506-0708-090a-0b0c0d0e0f10",
        7n,
      ]);
      assertEquals(info.ctransid <= info.rtransid, true);
      assertEquals(withFd(openFolder(got.path), isReadOnly), true);
      const state = await Deno.stat(`${got.path}/state`);
      assertEquals([state.mode! & 0o7777, state.mtime!.getTime()], [
        0o750,
        1234567890000,
      ]);
      assertEquals((await Deno.stat(got.path)).mtime!.getTime(), 1234567890000);
      await assertRejects(
        () => receiveStream(source(SIMPLE), { folder: fs.path, name: "x@v1" }),
        OpError,
        /exists already/,
      );
    },
  );

  Deno.test(`a ${kind} becomes a plain folder with the same digest`, async () => {
    await using there = await tempFolder();
    const options = { folder: there.path, plain: true };
    const got = await receiveStream(source(SIMPLE), options);
    assertEquals([got.kind, got.path, got.localUuid], [
      "plain",
      `${there.path}/tree`,
      null,
    ]);
    assertEquals(digestOfFolder(got.path), got.digest);
    const again = { ...options, name: "again", expectedDigest: got.digest! };
    assertEquals((await receiveStream(source(SIMPLE), again)).digest, got.digest);
    const wrong = { ...options, name: "wrong", expectedDigest: "0".repeat(64) };
    await assertRejects(
      () => receiveStream(source(SIMPLE), wrong),
      DifferenceError,
      /the stream has tree digest/,
    );
    assertEquals(names(there.path), ["again", "tree"]);
  });

  Deno.test(`a ${kind} that fails late leaves nothing`, async () => {
    await using there = await tempFolder();
    for (
      const bytes of [
        SIMPLE.subarray(0, SIMPLE.length - 3),
        stream(make.mkfile("a"), make.mkfile("b"), make.chmod("b", 0o4755)),
        concat(SIMPLE, SIMPLE),
      ]
    ) {
      await assertRejects(
        () => receiveStream(source(bytes), { folder: there.path, plain: true }),
        StreamError,
      );
      assertEquals(names(there.path), []);
    }
  });
}

Deno.test("names that would hide or escape are refused", async () => {
  await using there = await tempFolder();
  const hidden = ["", ".", "..", "a/b", ".op-dbus-receive-1", "x".repeat(256)];
  const painted = ["a\nb", "\x1b[2Jx", "\u202egnp.exe", "\u2028"];
  for (const name of [...hidden, ...painted]) {
    const options = { folder: there.path, plain: true };
    await assertRejects(
      () => receiveStream(bytesSource(SIMPLE), { ...options, name }),
      InputError,
      /Cannot name/,
    );
  }
  for (const name of [".hidden", ...painted]) { // the stream's own, which is the sender's
    const own = concat(header(), make.subvol(name), make.end());
    await assertRejects(
      () => receiveStream(bytesSource(own), { folder: there.path, policy: HOST_POLICY }),
      InputError,
      /Cannot name/,
    );
  }
  assertEquals(names(there.path), []);
});

Deno.test("a name that is taken while it is received is left alone", async () => {
  await using there = await tempFolder();
  const run = receiveStream(bytesSource(SIMPLE), {
    folder: there.path,
    name: "mine",
    plain: true,
    progress: (_, pass) => {
      if (pass === "receive") Deno.mkdirSync(`${there.path}/mine`);
    },
  });
  const error = await assertRejects(() => run, OpError);
  assertEquals(error.code, "exists");
  assertEquals(names(there.path), ["mine"]);
  assertEquals([...Deno.readDirSync(`${there.path}/mine`)], []);
});

Deno.test("a plugin's files are nobody's but the receiver's", async () => {
  await using there = await tempFolder();
  const own = effectiveUid(), mine = make.chown("d", 1000, 1000);
  const bytes = stream(make.mkdir("d"), mine, make.mkfile("f"), make.chown("f", 7, 7));
  const { path } = await receiveStream(bytesSource(bytes), {
    folder: there.path,
    plain: true,
  });
  for (const name of ["", "d", "f"]) {
    const { uid, gid } = Deno.statSync(`${path}/${name}`);
    assertEquals([uid, gid === 0 || own !== 0], [own, true], name);
  }
});

Deno.test("an abort in the middle leaves nothing", async () => {
  await using there = await tempFolder();
  const abort = new AbortController();
  const endless = async function* () {
    yield concat(header(), make.subvol(), make.mkfile("f"));
    for (let n = 0;; n++) {
      if (n === 3000) abort.abort(new Error("enough"));
      yield await Promise.resolve(make.write("f", n * 1000, new Uint8Array(1000)));
    }
  };
  const options = { folder: there.path, plain: true, signal: abort.signal };
  await assertRejects(
    () => receiveStream(chunksSource(endless()), options),
    Error,
    /eno/,
  );
  assertEquals(names(there.path), []);
});

Deno.test("what a killed receive left is removed, what runs is left alone", async () => {
  await using there = await tempFolder();
  await Deno.mkdir(`${there.path}/.op-dbus-receive-1-dead/deep/er`, { recursive: true });
  await Deno.writeTextFile(`${there.path}/.op-dbus-receive-1-dead/deep/f`, "x");
  await Deno.symlink("/etc", `${there.path}/.op-dbus-receive-1-dead/link`);
  await Deno.mkdir(`${there.path}/other`);
  // Of that name, but nothing that a receive makes: in nobody's way.
  await Deno.writeTextFile(`${there.path}/.op-dbus-receive-file`, "x");
  await Deno.symlink("/etc", `${there.path}/.op-dbus-receive-link`);
  withFd(openFolder(there.path), (fd) => {
    using _running = Staging.create(fd, "plain", null);
    assertEquals(cleanReceives(there.path), 1);
    assertEquals(names(there.path).length, 4);
  });
  const others = [".op-dbus-receive-file", ".op-dbus-receive-link", "other"];
  assertEquals(names(there.path), others);
  assertIncludes(await Deno.readTextFile("/etc/passwd"), "root");
});

platformTest("differences only build on what was verified and recorded", async () => {
  await using fs = await btrfsScratch(512);
  const work = `${fs.path}/work`, records = new VerifiedSnapshots();
  await sh("btrfs", "subvolume", "create", work);
  await Deno.writeTextFile(`${work}/a`, "one\n".repeat(5000));
  await sh("btrfs", "subvolume", "snapshot", "-r", work, `${fs.path}/s1`);
  await Deno.writeTextFile(`${work}/b`, "two");
  await sh("cp", "--reflink=always", `${work}/a`, `${work}/c`);
  await sh("btrfs", "subvolume", "snapshot", "-r", work, `${fs.path}/s2`);
  const full = () => chunksSource(sendChunks(`${fs.path}/s1`));
  const difference = () =>
    chunksSource(sendChunks(`${fs.path}/s2`, { parent: `${fs.path}/s1` }));
  await Deno.mkdir(`${fs.path}/in`);
  const options = { folder: `${fs.path}/in`, parent: records.find };

  // Stock would build on s1 itself, or on a forged received_uuid: op-dbus does not.
  await assertRejects(() => receiveStream(difference(), options), OpError, /is not here/);
  const base = await receiveStream(full(), options);
  await assertRejects(() => receiveStream(difference(), options), OpError, /is not here/);
  const record = {
    streamUuid: base.identity.uuid,
    ctransid: `${base.identity.ctransid}`,
    path: base.path,
    localUuid: base.localUuid,
    digest: base.digest!,
  };
  records.add(record);
  const got = await receiveStream(difference(), options);
  assertEquals(got.digest, digestOfFolder(`${fs.path}/s2`));
  assertEquals(got.identity.parent, {
    uuid: base.identity.uuid,
    ctransid: base.identity.ctransid,
  });
  await sh("btrfs", "property", "set", "-f", got.path, "ro", "false");
  await sh("btrfs", "subvolume", "delete", got.path);

  // Edited meanwhile: ctransid tells, and the digest would.
  await sh("btrfs", "property", "set", "-f", base.path, "ro", "false");
  await Deno.writeTextFile(`${base.path}/a`, "tampered");
  await sh("btrfs", "property", "set", base.path, "ro", "true");
  await assertRejects(() => receiveStream(difference(), options), OpError, /is not here/);
  records.add({ ...record, localUuid: null });
  await assertRejects(
    () => receiveStream(difference(), options),
    DifferenceError,
    /the base .*s1 has tree digest/,
  );
  assertEquals(names(`${fs.path}/in`), ["s1"]);
});

platformTest("a forged parent is not looked up among other subvolumes", async () => {
  await using fs = await btrfsScratch();
  const bytes = concat(header(), make.snapshot(OTHER_UUID), make.end());
  const policies = [undefined, { ...PLUGIN_POLICY, virtualTree: false }];
  for (const policy of policies) {
    const options = { folder: fs.path, ...(policy && { policy }) };
    await assertRejects(
      () => receiveStream(bytesSource(bytes), options),
      OpError,
      /its base c8c7c6c5-.* is not here/,
    );
  }
  assertEquals(names(fs.path), []);
});

platformTest("no space in the middle: one clear error, nothing left", async () => {
  await using fs = await btrfsScratch(120, "commit=1");
  const chunk = new Uint8Array(60_000);
  const large = async function* () {
    yield concat(header(), make.subvol(), make.mkfile("f"));
    for (let n = 0; n < 4000; n++) {
      crypto.getRandomValues(chunk);
      yield await Promise.resolve(make.write("f", n * chunk.length, chunk));
    }
    yield make.end();
  };
  const error = await assertRejects(
    () => receiveStream(chunksSource(large()), { folder: fs.path }),
    OpError,
    /ENOSPC/,
  );
  assertEquals(error.code, "no_space");
  assertEquals(names(fs.path), []);
  await sh("btrfs", "subvolume", "sync", fs.path); // the space comes back later
  const got = await receiveStream(bytesSource(SIMPLE), { folder: fs.path });
  assertEquals(digestOfFolder(got.path), got.digest);
});

platformTest("no space on a plain file system: the same", async () => {
  await using there = await tempFolder();
  await sh("mount", "-t", "tmpfs", "-o", "size=1m", "small", there.path);
  try {
    const writes = Array.from(
      { length: 40 },
      (_, n) => make.write("f", n * 60_000, new Uint8Array(60_000)),
    );
    const bytes = stream(make.mkdir("d"), make.mkfile("f"), ...writes);
    const error = await assertRejects(
      () => receiveStream(bytesSource(bytes), { folder: there.path }),
      OpError,
      /ENOSPC/,
    );
    assertEquals([error.code, names(there.path)], ["no_space", []]);
  } finally {
    await sh("umount", there.path);
  }
});

Deno.test("a pipe's descriptor is read without stopping the event loop", async () => {
  await using there = await tempFolder();
  const { readFd, writeFd } = pipe();
  try {
    const got = receiveStream(fdSource(readFd), { folder: there.path, plain: true });
    for (let at = 0; at < SIMPLE.length; at += 200) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      writeAll(writeFd, SIMPLE.subarray(at, at + 200));
    }
    close(writeFd);
    assertEquals((await got).digest, digestOfFolder(`${there.path}/tree`));
  } finally {
    close(readFd);
  }
});

for (const compress of ["zlib", "lzo", "zstd"]) {
  platformTest(`${compress} extents are sent and received as they are`, async () => {
    await using fs = await btrfsScratch(512, `compress-force=${compress}`);
    await using plain = await tempFolder();
    const work = `${fs.path}/work`;
    await sh("btrfs", "subvolume", "create", work);
    const random = crypto.getRandomValues(new Uint8Array(3000));
    for (let n = 1; n < 60; n++) { // half of each repeats, in ever longer runs
      const bytes = new Uint8Array(n * 5000);
      for (let at = 0; at < bytes.length; at += n * 100) {
        bytes.set(random.subarray(at % 3000, at % 3000 + n * 50).subarray(0, 3000), at);
      }
      await Deno.writeFile(`${work}/f${n}`, bytes);
    }
    await sh("sync", "-f", work);
    await sh("btrfs", "subvolume", "snapshot", "-r", work, `${fs.path}/s`);
    const stream = async () => {
      const pieces = [];
      const sent = sendChunks(`${fs.path}/s`, { compressed: "always" });
      for await (const chunk of sent) pieces.push(chunk.slice());
      return concat(...pieces);
    };
    const bytes = await stream(), wanted = digestOfFolder(`${fs.path}/s`);
    let encoded = 0;
    await parseSource(bytesSource(bytes), { limits: PLUGIN_LIMITS }, ({ type }) => {
      if (type === "encoded_write") encoded++;
    });
    assertEquals(encoded > 50, true);
    await Deno.mkdir(`${fs.path}/in`);
    for (const folder of [`${fs.path}/in`, plain.path]) {
      const got = await receiveStream(bytesSource(bytes), { folder });
      assertEquals([got.digest, digestOfFolder(got.path)], [wanted, wanted]);
    }
  });
}

platformTest("send says why it cannot", async () => {
  await using fs = await btrfsScratch();
  await using plain = await tempFolder();
  const all = async (path: string, parent?: string) => {
    for await (const _ of sendChunks(path, parent ? { parent } : {}));
  };
  await assertRejects(() => all(plain.path), OpError, /it is no btrfs subvolume/);
  await assertRejects(() => all(`${fs.path}/no`), OpError, /ENOENT/);
  await sh("btrfs", "subvolume", "create", `${fs.path}/a`);
  await assertRejects(() => all(`${fs.path}/a`), OpError, /it is not read-only/);
  for (const name of ["a", "b"]) {
    if (name === "b") await sh("btrfs", "subvolume", "create", `${fs.path}/b`);
    await sh("btrfs", "property", "set", `${fs.path}/${name}`, "ro", "true");
  }
  await all(`${fs.path}/a`);
  const full = await Deno.open("/dev/full", { write: true });
  full.close();
  await assertRejects(
    () => all(`${fs.path}/a`, `${plain.path}`),
    OpError,
    /no btrfs subvolume/,
  );
  await assertRejects(() => sendToFd(`${fs.path}/a`, -1), OpError, /EBADF/);
});
