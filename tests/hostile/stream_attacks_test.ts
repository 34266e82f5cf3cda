/**
 * Every attack that stock `btrfs receive` falls for, on both policies, onto a plain folder
 * and (as root) onto btrfs: an error of the family, canaries unchanged, nothing left.
 */
import { zstdCompressSync } from "node:zlib";
import { openFolder, setReadOnly, setReceived } from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";
import { OpError } from "../../lib/base/errors.ts";
import { HOST_POLICY, PLUGIN_POLICY } from "../../lib/stream/policy.ts";
import { parentsInFolder } from "../../lib/stream/parents.ts";
import { VerifiedSnapshots } from "../support/verified_snapshots.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { bytesSource, chunksSource } from "../../lib/stream/source.ts";
import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { type Canaries, canaries } from "../support/canaries.ts";
import { btrfsScratch, canMountBtrfs, platformTest, sh } from "../support/scratch.ts";
import {
  command,
  concat,
  framed,
  header,
  make,
  OTHER_UUID,
  stream,
  stream2,
  u32,
  UUID,
} from "../support/stream_builder.ts";

type Attack = (c: Canaries) => Uint8Array;
const f = make.mkfile("f"), g = make.mkfile("g");
const bytes100 = new Uint8Array(100).fill(88), pages = new Uint8Array(8192).fill(88);

/** Whatever is done through a path, once it has been made to lead outside. */
function throughPath(path: string): Uint8Array[] {
  return [
    make.write(path, 0, "owned"),
    make.truncate(path, 0),
    make.mkfile(`${path}/new`),
    make.mkdir(`${path}/new`),
    make.symlink(`${path}/new`, "x"),
    make.unlink(`${path}/beside`),
    make.rmdir(`${path}/folder`),
    make.rename(`${path}/beside`, "mine"),
    make.rename("f", `${path}/mine`),
    make.link("mine", `${path}/beside`),
    make.link(`${path}/mine`, "f"),
    make.chmod(`${path}/beside`, 0o777),
    make.chown(`${path}/beside`, 0, 0),
    make.utimes(`${path}/beside`, 99),
    make.setXattr(`${path}/beside`, "user.x", "x"),
    make.write(`${path}/beside`, 0, "owned"),
    make.clone("f", 0, 10, `${path}/secret`, 0),
  ];
}

/** Attacks that no policy lets through. */
const ALWAYS: Record<string, Attack[]> = {
  "'..' in every kind of path": throughPath("..").map((it) => () => stream(f, it)),
  "a symlink to an absolute folder, then through it": throughPath("l").map(
    (it) => (c) => stream(f, make.symlink("l", c.beside.replace(/\/beside$/, "")), it),
  ),
  "a symlink upwards, then through it": throughPath("d/l").map(
    (it) => () => stream(f, make.mkdir("d"), make.symlink("d/l", "../../.."), it),
  ),
  // Nothing leaves the tree here: it is the link alone that must not be followed.
  "a symlink to a folder inside, then through it": throughPath("l").map(
    (it) => () =>
      stream(
        ...[f, make.mkdir("d"), make.mkdir("d/folder"), make.mkfile("d/beside")],
        ...[make.mkfile("d/secret"), make.write("d/secret", 0, "0123456789")],
        ...[make.symlink("l", "d"), it],
      ),
  ),
  "a symlink to a file, then written": [
    (c) => stream(make.symlink("l", c.beside), make.write("l", 0, "owned")),
    (c) => stream(make.symlink("l", c.beside), make.truncate("l", 0)),
    (c) => stream(make.symlink("l", c.elsewhere), make.write("l", 0, "owned")),
    (c) =>
      stream(make.symlink("l", c.beside), make.link("m", "l"), make.write("m", 0, "x")),
    (c) => stream(make.symlink("l", c.beside), make.mkfile("l")),
    (c) => stream(f, make.symlink("l", c.secret), make.clone("f", 0, 10, "l", 0)),
    (c) =>
      stream(
        f,
        make.write("f", 0, "x"),
        make.symlink("l", c.beside),
        make.rename("l", "f"),
      ),
    (c) =>
      stream2(
        make.symlink("l", c.beside),
        make.encodedWrite("l", {
          fileLength: 5,
          length: 5,
          compression: 0,
          data: bytes100.subarray(0, 5),
        }),
      ),
  ],
  "commands before the subvolume": [
    (c) => concat(header(), make.mkfile(c.beside), make.end()),
    () => concat(header(), make.mkfile("x"), make.subvol(), make.end()),
    () => concat(header(), make.end()),
    () => header(),
  ],
  "several subvolumes, concatenated streams": [
    () => stream(make.subvol("second")),
    () => stream(make.snapshot()),
    () => concat(stream(), stream()),
    () => concat(zstdCompressSync(stream()), zstdCompressSync(stream())),
    () => concat(zstdCompressSync(stream()), stream()),
  ],
  "unknown commands and attributes": [
    () => stream(framed(0, new Uint8Array())),
    () => stream(framed(26, new Uint8Array())),
    () => stream(framed(200, bytes100)),
    () => stream(command(3, [[15, "x"], [40, "y"]])),
    () => stream(command(11, [[15, "f"], [16, "y"]])),
  ],
  "lengths that lie": [
    () => concat(header(), make.subvol(), u32(0x7fffffff), Uint8Array.of(15, 0), u32(0)),
    () => concat(header(), make.subvol(), u32(0xffffffff), Uint8Array.of(15, 0), u32(0)),
    () => stream(framed(15, Uint8Array.of(15, 0, 255, 255, 97))),
    () => stream2(make.mkfile("f"), encoded({ length: 60 * 2 ** 30, fileLength: 1 })),
    () => stream2(make.mkfile("f"), encoded({ length: 100, fileLength: 65536 })),
    () => stream2(make.mkfile("f"), encoded({ length: 100, fileLength: 90, inner: 20 })),
  ],
  "a corrupt extent": [
    () => stream2(f, encoded({ length: 4096, fileLength: 4096, compression: 2 })),
    () => stream2(f, encoded({ length: 4096, fileLength: 4096, compression: 1 })),
    () => stream2(f, encoded({ length: 4096, fileLength: 4096, compression: 77 })),
  ].map((attack) => attack),
  "bad crc, cut short, no END": [
    () => {
      const bytes = stream(f, make.write("f", 0, "data"));
      bytes[bytes.length - 20]! ^= 1;
      return bytes;
    },
    () => stream(f).subarray(0, -1),
    () => stream(f).subarray(0, -10),
    () => concat(header(), make.subvol(), f),
  ],
  "a subvolume's name that is a path": ["/", "a/b", ".", "..", "../x", "", "a\0b", ".x"]
    .map((name) => () => concat(header(), make.subvol(name), make.end())),
  "clones and snapshots from elsewhere": [
    () => stream(f, make.clone("f", 0, 10, "secret", 0, OTHER_UUID)),
    // The source is there, in the stream's own tree: the UUID alone is wrong.
    () =>
      stream(f, make.write("f", 0, "data"), g, make.clone("g", 0, 4, "f", 0, OTHER_UUID)),
    () => concat(header(), make.snapshot(), make.end()),
    () => concat(header(), make.snapshot(UUID), make.end()),
  ],
  "clones that the kernel takes for something else": [
    () => stream(f, make.write("f", 0, "data"), g, make.clone("g", 0, 0, "f", 0)),
    () => stream(f, make.write("f", 0, pages), g, make.clone("g", 0, 0, "f", 4096)),
  ],
  "a name that is taken, renamed over": [
    // A folder in between: what was just made would be made under its new name.
    () => stream(f, g, make.mkdir("d"), make.rename("f", "g")),
    (c) => stream(f, make.symlink("l", c.beside), make.mkdir("d"), make.rename("l", "f")),
  ],
  "files without their data": [() => stream(f, make.updateExtent("f"))],
  "a device that exists, written": [
    (c) =>
      stream(make.mknod("n", 0o060666, Number(c.device)), make.write("n", 0, "owned")),
    (c) => stream(make.mknod("n", 0o020666, 0x501), make.truncate("n", 0), f, clone(c)),
    () => stream(make.mkfifo("p"), make.write("p", 0, "x")),
  ],
};

function clone(_: Canaries): Uint8Array {
  return make.clone("f", 0, 1, "n", 0);
}

/** What only the plugin policy refuses; the host's own snapshots may hold it. */
const PLUGIN_ONLY: Record<string, Attack[]> = {
  "setuid and its kin": [0o4755, 0o2755, 0o1777, 0o6777].map((mode) => () =>
    stream(f, make.chmod("f", mode))
  ),
  "attributes of the system": ["security.capability", "trusted.x", "system.x", "x"].map(
    (name) => () => stream(f, make.setXattr("f", name, bytes100)),
  ),
  "special files": [
    () => stream(make.mknod("n", 0o020666, 0x501)),
    () => stream(make.mkfifo("n")),
    () => stream(make.mksock("n")),
  ],
  "links that leave": [
    (c) => stream(make.symlink("l", c.secret)),
    () => stream(make.symlink("l", "../secret")),
    () =>
      stream(make.mkdir("d"), make.symlink("d/m", ".."), make.symlink("d/n", "m/../..")),
  ],
  "sizes beyond all bounds": [
    () => stream(f, make.truncate("f", 2 ** 47)),
    () => stream(f, make.write("f", 2 ** 46, "x")),
    () => stream(f, make.truncate("f", 2n ** 63n - 1n)),
  ],
};

function encoded(parts: {
  length: number;
  fileLength: number;
  inner?: number;
  compression?: number;
}): Uint8Array {
  return make.encodedWrite("f", { compression: 0, data: bytes100, ...parts });
}

async function assault(c: Canaries, bytes: Uint8Array, what: string, host: boolean) {
  const policy = host ? HOST_POLICY : PLUGIN_POLICY;
  const once = async function* () {
    yield await Promise.resolve(bytes);
  };
  for (const source of [bytesSource(bytes), chunksSource(once())]) {
    const error = await assertRejects(
      () => receiveStream(source, { folder: c.target, policy }),
      OpError,
    );
    assertEquals(error.code === "internal", false, `${what}: ${error.message}`);
    assertEquals(c.changes(), [], what);
  }
}

async function assaultAll(target?: string): Promise<void> {
  await using c = await canaries(target);
  for (const [what, attacks] of Object.entries(ALWAYS)) {
    for (const [n, attack] of attacks.entries()) {
      await assault(c, attack(c), `${what} ${n}, plugin`, false);
      await assault(c, attack(c), `${what} ${n}, host`, true);
    }
  }
  for (const [what, attacks] of Object.entries(PLUGIN_ONLY)) {
    for (const [n, attack] of attacks.entries()) {
      await assault(c, attack(c), `${what} ${n}`, false);
    }
  }
}

Deno.test("no attack gets out of a plain folder", () => assaultAll());

platformTest("no attack gets out of a btrfs folder", async () => {
  await using fs = await btrfsScratch();
  await Deno.mkdir(`${fs.path}/target`);
  await assaultAll(`${fs.path}/target`);
});

platformTest("a forged received_uuid makes no parent", async () => {
  await using fs = await btrfsScratch();
  const victim = `${fs.path}/victim`;
  await sh("btrfs", "subvolume", "create", victim);
  await Deno.writeTextFile(`${victim}/secret`, "0600");
  withFd(openFolder(victim), (fd) => {
    setReceived(fd, "c8c7c6c5-c4c3-c2c1-c0bf-bebdbcbbbab9", 5n);
    setReadOnly(fd, true);
  });
  const bytes = concat(header(), make.snapshot(), make.end());
  const records = new VerifiedSnapshots();
  const error = await assertRejects(
    () => receiveStream(bytesSource(bytes), { folder: fs.path, parent: records.find }),
    OpError,
  );
  assertIncludes(error.message, "is not here");
  // The host's own replicas look by UUID, and would not take it for a plugin.
  await assertRejects(
    () =>
      receiveStream(bytesSource(bytes), {
        folder: fs.path,
        parent: parentsInFolder(fs.path),
      }),
    OpError,
    /is not here/,
  );
});

Deno.test("a source that changes after its audit gets nowhere", async () => {
  await using c = await canaries();
  const good = stream(f, make.write("f", 0, "good"), make.chmod("f", 0o644));
  const other = (name: string, ...it: Uint8Array[]) =>
    concat(header(), make.subvol(name), ...it, make.end());
  const renamed = concat(header(), command(1, [[15, "tree"], [1, OTHER_UUID], [2, 7]]));
  for (
    const [second, why] of [
      [stream(f, make.write("f", 0, "evil"), make.chmod("f", 0o644)), /tree digest/],
      [stream(f, make.write("f", 0, "good"), make.chmod("f", 0o666)), /tree digest/],
      [stream(f, make.write("f", 0, "good"), make.chmod("f", 0o4644)), /mode 04644/],
      [stream(f, make.setXattr("f", "security.capability", "x")), /attribute security/],
      [stream(make.mknod("n", 0o060666, 0x700)), /a block is not allowed/],
      [stream(make.symlink("f", c.secret)), /tree digest/],
      [stream(f, make.write("../beside", 0, "x")), /'\.\.' in a path/],
      [other("elsewhere/x"), /is a path/],
      [other(".hidden"), /Cannot name/],
      [concat(renamed, good.subarray(header().length + make.subvol().length)), /changed/],
      [good.subarray(0, -5), /cut short/],
    ] as const
  ) {
    let opened = 0;
    const source = {
      name: "shifty",
      replayable: true,
      open: () => bytesSource(opened++ === 0 ? good : second).open(),
    };
    await assertRejects(
      () => receiveStream(source, { folder: c.target, plain: true }),
      OpError,
      why,
    );
    assertEquals(opened, 2);
    assertEquals(c.changes(), []);
  }
});

Deno.test("the canaries notice what they are for", async () => {
  await using c = await canaries();
  await Deno.writeTextFile(`${c.target}/left`, "");
  assertEquals(c.changes(), ["left: left"]);
  await Deno.remove(`${c.target}/left`);
  await Deno.writeTextFile(c.elsewhere, "x");
  await Deno.chmod(c.secret, 0o644);
  assertEquals(c.changes(), ["near", "far", "times"]);
  if (canMountBtrfs()) assertEquals(c.device > 0n, true);
});
