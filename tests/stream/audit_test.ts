import { zstdCompressSync } from "node:zlib";
import { StreamError } from "../../lib/stream/error.ts";
import {
  auditStream,
  type AuditStreamOptions,
  listTree,
} from "../../lib/stream/inspect.ts";
import { PLUGIN_LIMITS } from "../../lib/stream/limits.ts";
import { decodeLzoExtent } from "../../lib/stream/lzo.ts";
import { PLUGIN_POLICY } from "../../lib/stream/policy.ts";
import { bytesSource, chunksSource } from "../../lib/stream/source.ts";
import { targetStaysInside } from "../../lib/stream/paths.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { below, seeded } from "../support/random.ts";
import {
  command,
  concat,
  header,
  make,
  OTHER_UUID,
  stream,
  stream2,
  u32,
  UUID,
} from "../support/stream_builder.ts";

const audit = (bytes: Uint8Array, options: AuditStreamOptions = {}) =>
  auditStream(bytesSource(bytes), options);

async function refused(bytes: Uint8Array, pattern: RegExp, options = {}) {
  return await assertRejects(() => audit(bytes, options), StreamError, pattern);
}

const limits = (some: Partial<typeof PLUGIN_LIMITS>) => ({
  limits: { ...PLUGIN_LIMITS, ...some },
});

Deno.test("the tree is what the commands make", async () => {
  const { tree, identity, findings, totals } = await audit(stream(
    make.chmod("", 0o755),
    make.mkdir("o1"),
    make.mkfile("o2"),
    make.rename("o1", "dir"),
    make.rename("o2", "dir/file"),
    make.write("dir/file", 0, "hello world"),
    make.truncate("dir/file", 5),
    make.chmod("dir/file", 0o640),
    make.link("hard", "dir/file"),
    make.symlink("dir/link", "../hard"),
    make.setXattr("hard", "user.a", "1"),
    make.mkfile("gone"),
    make.unlink("gone"),
    make.mkdir("gone"),
    make.rmdir("gone"),
  ));
  assertEquals(identity.name, "tree");
  assertEquals(identity.uuid, "01020304-0506-0708-090a-0b0c0d0e0f10");
  assertEquals([identity.ctransid, identity.parent], [7n, null]);
  assertEquals(findings, []);
  assertEquals(listTree(tree), [
    { path: "dir", kind: "folder", mode: 0o700, sizeBytes: 0, target: "" },
    { path: "dir/file", kind: "file", mode: 0o640, sizeBytes: 5, target: "" },
    { path: "dir/link", kind: "symlink", mode: 0o777, sizeBytes: 0, target: "../hard" },
    { path: "hard", kind: "file", mode: 0o640, sizeBytes: 5, target: "" },
  ]);
  assertEquals([totals.totalBytes, totals.writtenBytes], [5, 11]);
});

Deno.test("contents are right however they come: holes, clones, overwriting, zstd", async () => {
  const big = new Uint8Array(40_000).map((_, n) => n * 7);
  const zeros = new Uint8Array(10_000);
  const direct = stream(
    make.mkfile("a"),
    make.write("a", 0, big),
    make.mkfile("b"),
    make.write("b", 0, concat(big.subarray(8192, 16384), zeros, big.subarray(0, 100))),
  );
  const tangled = stream(
    make.mkfile("a"),
    make.mkfile("b"),
    make.write("a", 20_000, big.subarray(20_000)),
    make.write("a", 0, big.subarray(0, 20_000)),
    make.clone("b", 0, 8192, "a", 8192),
    make.clone("b", 18_192, 100, "a", 0),
    make.write("a", 8192, "overwritten"),
    make.write("a", 8192, big.subarray(8192, 9000)),
  );
  const wanted = (await audit(direct)).digest;
  assertEquals((await audit(tangled)).digest, wanted);
  assertEquals((await audit(zstdCompressSync(tangled))).digest, wanted);
  const kept = (await audit(tangled, { keep: ["b"] })).kept.get("b")!;
  assertEquals(kept.subarray(8192, 18_192), zeros);
  assertEquals(kept.subarray(0, 8192), big.subarray(8192, 16_384));
  // Read once only: what came out of order cannot be known.
  const once = async function* () {
    yield await Promise.resolve(tangled);
  };
  assertEquals((await auditStream(chunksSource(once()))).digest, null);
});

Deno.test("encoded writes are decoded, and only the part that the file gets", async () => {
  const plain = new Uint8Array(8192).map((_, n) => n % 251);
  const frame = zstdCompressSync(plain);
  const padded = concat(frame, new Uint8Array(4096 - frame.length % 4096));
  const coded = { fileLength: 5000, length: 8192, inner: 3000, compression: 2 };
  const one = stream2(
    make.mkfile("f"),
    make.encodedWrite("f", { ...coded, data: padded }),
  );
  const two = stream(make.mkfile("f"), make.write("f", 0, plain.subarray(3000, 8000)));
  assertEquals((await audit(one)).digest, (await audit(two)).digest);
  for (
    const [change, why] of [
      [{ length: 131073, fileLength: 1, inner: 0 }, /131073 bytes decoded/],
      [{ fileLength: 8192 }, /not inside its extent/],
      [{ inner: 2 ** 40 }, /not inside its extent/],
      [{ data: new Uint8Array(4096) }, /encoded_write: no zstd frame/],
      [{ data: frame.subarray(0, 20) }, /encoded_write/],
      [{ compression: 9 }, /compression 9 is not known/],
    ] as const
  ) {
    const parts = { ...coded, data: padded, ...change };
    await refused(stream2(make.mkfile("f"), make.encodedWrite("f", parts)), why);
  }
});

Deno.test("lzo extents of any bytes decode or are refused, never more", () => {
  const random = seeded(7);
  for (let round = 0; round < 20_000; round++) {
    const data = new Uint8Array(4 + below(random, 200));
    for (let at = 0; at < data.length; at++) {
      data[at] = random() < 0.3 ? below(random, 20) : below(random, 256);
    }
    const view = new DataView(data.buffer);
    view.setUint32(0, data.length, true);
    if (data.length >= 8) view.setUint32(4, below(random, data.length), true);
    try {
      assertEquals(decodeLzoExtent(data, 4096, 8192).length, 8192);
    } catch (error) {
      assertTrue(error instanceof RangeError, `round ${round}: ${error}`);
    }
  }
});

Deno.test("what the policy does not name is refused", async () => {
  const f = make.mkfile("f");
  for (
    const [commands, why] of [
      [[make.mknod("n", 0o020666, 0x103)], /n: a char is not allowed in a plugin/],
      [[make.mknod("n", 0o060666, 0x700)], /n: a block is not allowed/],
      [[make.mknod("n", 0o100666, 0)], /mknod of mode/],
      [[make.mkfifo("n")], /n: a fifo is not allowed/],
      [[make.mksock("n")], /n: a socket is not allowed/],
      [[f, make.chmod("f", 0o4755)], /f: mode 04755 is not allowed/],
      [[f, make.chmod("f", 0o2755)], /mode 02755/],
      [[f, make.chmod("f", 0o1755)], /mode 01755/],
      [[f, make.setXattr("f", "security.capability", "x")], /attribute security.cap/],
      [[f, make.setXattr("f", "trusted.x", "x")], /attribute trusted.x/],
      [[f, make.setXattr("f", "system.posix_acl_access", "x")], /attribute system/],
      [[f, make.updateExtent("f")], /without file data/],
      [[make.symlink("l", "/etc/passwd")], /a link to \/etc\/passwd, outside/],
      [[make.symlink("l", "../x")], /outside of the tree/],
      [[make.mkdir("d"), make.symlink("d/l", "a/../../../x")], /outside/],
      [[make.symlink("l", "")], /a link target of 0 bytes/],
      [[make.symlink("l", "x".repeat(4096))], /a link target of 4096 bytes/],
      [[make.symlink("l", "a\0b")], /a NUL byte in a link target/],
    ] as const
  ) await refused(stream(...commands), why);
  const chowned = stream(f, make.chown("f", 1000, 1000));
  const { uid, gid } = (await audit(chowned)).tree.get("f");
  assertEquals([uid, gid], [0, 0]);
  await refused(chowned, /owner 1000:1000/, {
    policy: { ...PLUGIN_POLICY, owners: "root" as const },
  });
  await refused(stream(f, make.link("g", "f")), /a hard link is not allowed/, {
    policy: { ...PLUGIN_POLICY, hardLinks: false },
  });
  const attributed = stream2(f, command(24, [[15, "f"], [26, 16]]));
  assertEquals((await audit(attributed)).findings, []);
  await refused(attributed, /fileattr is not allowed/, {
    policy: { ...PLUGIN_POLICY, fileattr: "refuse" as const },
  });
  for (const mode of [0, 1, 2, 16]) { // only a hole punched is a stream's own
    const allocated = command(23, [[15, "f"], [25, u32(mode)], [18, 0], [4, 4096]]);
    await refused(stream2(f, allocated), new RegExp(`fallocate mode ${mode}`));
  }
});

Deno.test("an inspection collects what is refused and goes on", async () => {
  const { findings, tree } = await audit(
    stream(
      make.mknod("n", 0o020666, 0x103),
      make.mkfile("f"),
      make.chmod("f", 0o6755),
      make.symlink("l", "/x"),
    ),
    { collect: true },
  );
  assertEquals(findings.length, 3);
  assertTrue(findings[0]!.offset < findings[1]!.offset);
  assertEquals(listTree(tree).map(({ path }) => path), ["f", "l", "n"]);
});

Deno.test("commands that no tree could take", async () => {
  const f = make.mkfile("f"), d = make.mkdir("d");
  for (
    const [commands, why] of [
      [[f, f], /mkfile f: the path exists already/],
      [[make.mkfile("no/f")], /its folder does not exist/],
      [[f, make.mkfile("f/g")], /its folder does not exist/],
      [[make.unlink("f")], /there is no such path/],
      [[d, make.unlink("d")], /it is a folder/],
      [[f, make.rmdir("f")], /it is no folder/],
      [[d, make.mkfile("d/f"), make.rmdir("d")], /not empty/],
      [[d, make.rename("d", "d/e")], /cannot move into itself/],
      [[f, d, make.rename("f", "d")], /exists already/],
      [[d, make.link("e", "d")], /a hard link to a folder/],
      [[d, make.write("d", 0, "x")], /no regular file/],
      [[make.symlink("l", "f"), make.write("l", 0, "x")], /no regular file/],
      [[make.symlink("l", "d"), make.mkfile("l/f")], /its folder does not exist/],
      [[make.symlink("l", "f"), make.chmod("l", 0o644)], /mode of a symlink/],
      [[f, make.removeXattr("f", "user.x")], /no such attribute/],
      [[f, make.clone("f", 0, 1, "g", 0)], /no regular file/],
      [[f, make.clone("f", 0, 1, "f", 0)], /beyond the end of its source/],
      [[f, make.clone("f", 0, 1, "f", 0, OTHER_UUID)], /from a snapshot elsewhere/],
      [[f, make.clone("f", 0, 0, "f", 0)], /it copies nothing/],
      [[f, make.write("f", 0, "xyz"), make.clone("f", 1, 2, "f", 0)], /part of itself/],
    ] as const
  ) await refused(stream(...commands), why);
});

Deno.test("one subvolume, first; a difference only on a base", async () => {
  await refused(concat(header(), make.mkfile("f"), make.end()), /before the subvolume/);
  await refused(stream(make.subvol("again")), /a second subvolume/);
  await refused(concat(header(), make.subvol("a/b"), make.end()), /name is a path/);
  await refused(concat(header(), make.subvol("../b"), make.end()), /'\.\.' in a path/);
  const difference = concat(header(), make.snapshot(), make.end());
  await refused(difference, /a difference to snapshot c8c7c6c5-.*not here and verified/);
  assertEquals(UUID.length, 16);
});

Deno.test("limits on the tree", async () => {
  const f = make.mkfile("f");
  await refused(stream(f, make.mkfile("g")), /more than 1 files/, limits({ names: 1 }));
  await refused(
    stream(f, make.truncate("f", 2 ** 47)),
    /a file of 140737488355328 bytes/,
  );
  await refused(stream(f, make.write("f", 2n ** 52n, "x")), /a file of/);
  await refused(
    stream(f, make.truncate("f", 1001)),
    /more than 1000 bytes of holes/,
    limits({ sparseBytes: 1000 }),
  );
  await refused(
    stream(f, make.write("f", 0, "12"), make.mkfile("g"), make.write("g", 0, "34")),
    /more than 3 bytes of files/,
    limits({ totalBytes: 3 }),
  );
  await refused(
    stream(f, make.setXattr("f", "user.a", new Uint8Array(60_000))),
    /bytes of attributes/,
    limits({ xattrBytes: 50_000 }),
  );
  const deep = stream(
    make.mkdir("a"),
    make.mkdir("a/b"),
    make.mkdir("c"),
    make.mkdir("c/d"),
    make.rename("c", "a/b/c"),
  );
  await refused(deep, /deeper than 3 folders/, limits({ depth: 3 }));
  // Clones that double a file's pieces with every command.
  const doubling = [f, make.write("f", 0, "x"), make.write("f", 1, "y")];
  for (let n = 1; n < 24; n++) doubling.push(make.clone("f", 2 ** n, 2 ** n, "f", 0));
  await refused(stream(...doubling), /in more than 100000 pieces/, {
    ...limits({ extents: 100_000 }),
    digest: false,
  });
});

Deno.test("zstd: bombs, damage, a second frame behind the end", async () => {
  const bomb = zstdCompressSync(
    stream(make.mkfile("f"), make.write("f", 0, new Uint8Array(60_000)), make.end()),
  );
  await refused(
    bomb,
    /expands more than 10 times/,
    limits({ expansionRatio: 10, expansionFreeBytes: 1000 }),
  );
  const good = new Uint8Array(zstdCompressSync(stream(make.mkfile("f"))));
  const bad = good.slice();
  bad[bad.length - 3]! ^= 0xff;
  bad[8]! ^= 0x55;
  await refused(bad, /./);
  await refused(good.subarray(0, good.length - 4), /cut short|damaged zstd/);
  await refused(concat(good, good), /after its end/);
  await refused(concat(good, new TextEncoder().encode("trailing")), /after|damaged/);
});

Deno.test("links that stay inside", () => {
  for (
    const [at, target, inside] of [
      ["l", "a", true],
      ["l", "a/b/./c", true],
      ["l", "..", false],
      ["d/l", "..", true],
      ["d/l", "../..", false],
      ["d/e/l", "../../x", true],
      ["d/e/l", "../../../x", false],
      ["d/l", "a/../../x", false],
      // Deep enough by counting, but `a` may be a link to a shallower folder.
      ["d/e/l", "a/..", false],
      ["d/e/f/l", "../a/../x", false],
      ["l", "", false],
      ["l", "/", false],
      ["l", "a\0b", false],
    ] as const
  ) assertEquals(targetStaysInside(at, target), inside, `${at} -> ${target}`);
});

Deno.test("a write of nothing lengthens no file, as on disk", async () => {
  const { tree } = await audit(stream(make.mkfile("f"), make.write("f", 5000, "")));
  assertEquals(tree.find("f")?.content?.size, 0);
});
