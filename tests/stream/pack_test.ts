import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { auditStream, listTree } from "../../lib/stream/inspect.ts";
import { digestOfAuthorsFolder, packFolder } from "../../lib/stream/pack.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { savePacked } from "../../lib/stream/save.ts";
import { bytesSource, fileSource } from "../../lib/stream/source.ts";
import { InputError } from "../../lib/base/errors.ts";
import { assertEquals, assertIncludes, assertThrows } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { concat } from "../support/stream_builder.ts";

async function example(root: string): Promise<void> {
  await Deno.mkdir(`${root}/state/deep/er`, { recursive: true });
  await Deno.mkdir(`${root}/empty`);
  await Deno.writeTextFile(`${root}/plugin.toml`, '[plugin]\nname = "x"\n');
  await Deno.writeFile(`${root}/zero`, new Uint8Array());
  await Deno.writeFile(`${root}/state/big`, new Uint8Array(300_000).fill(65));
  await Deno.writeTextFile(`${root}/state/deep/er/run`, "#!/bin/sh\n");
  await Deno.chmod(`${root}/state/deep/er/run`, 0o751);
  await Deno.chmod(`${root}/zero`, 0o600);
  await Deno.symlink("../plugin.toml", `${root}/state/link`);
  await sh("python3", "-c", `open(b"${root}/caf\\xe9", "wb").write(b"latin")`);
  await sh("setfattr", "-n", "user.note", "-v", "hello", `${root}/plugin.toml`);
}

function packed(folder: string, epoch?: number) {
  const pieces: Uint8Array[] = [];
  const run = packFolder(folder, {
    name: "x@v1.0.0",
    ...(epoch !== undefined && { sourceDateEpoch: epoch }),
  });
  for (let next = run.next();; next = run.next()) {
    if (next.done) return { ...next.value, bytes: concat(...pieces) };
    pieces.push(next.value);
  }
}

Deno.test("a folder packs to the same bytes wherever and whenever it lies", async () => {
  await using a = await tempFolder();
  await using b = await tempFolder();
  await example(a.path);
  await example(b.path);
  await sh("bash", "-c", `find "$1" -exec touch -h -d 2001-02-03 {} +`, "t", b.path);
  await Deno.chmod(b.path, 0o700);
  const one = packed(a.path), two = packed(b.path);
  assertEquals(one.bytes, two.bytes);
  assertEquals(one.uuid.replaceAll("-", ""), one.digest.slice(0, 32));
  // Clamped: later times become the epoch, earlier ones stay.
  const early = packed(b.path, 4_000_000_000), late = packed(a.path, 1000);
  assertEquals(early.digest, late.digest);
  assertEquals(packed(b.path, 1000).bytes, late.bytes);
});

Deno.test("author's folder, stream, zstd package and plain copy have one digest", async () => {
  await using a = await tempFolder();
  await using out = await tempFolder();
  await example(a.path);
  const { digest, bytes } = packed(a.path);
  assertEquals(digestOfAuthorsFolder(a.path), digest);
  const audited = await auditStream(bytesSource(bytes), { keep: ["plugin.toml", "no"] });
  assertEquals(audited.digest, digest);
  assertEquals([...audited.kept.keys()], ["plugin.toml"]);
  assertIncludes(new TextDecoder().decode(audited.kept.get("plugin.toml")), "[plugin]");
  const run = listTree(audited.tree).find(({ path }) => path === "state/deep/er/run");
  assertEquals(run?.mode, 0o755);
  const file = `${out.path}/x.btrfs.zst`;
  const saved = await savePacked(a.path, file, { name: "x@v1.0.0" }, { zstdLevel: 19 });
  assertEquals(saved.digest, digest);
  assertEquals((await sh("sha256sum", file)).split(" ")[0], saved.sha256);
  assertEquals((await auditStream(fileSource(file))).digest, digest);
  const got = await receiveStream(fileSource(file), {
    folder: out.path,
    expectedDigest: digest,
    plain: true,
  });
  assertEquals(got.kind, "plain");
  assertEquals(digestOfFolder(got.path), digest);
  await sh("cp", "-a", got.path, `${out.path}/copy`);
  assertEquals(digestOfFolder(`${out.path}/copy`), digest);
  await Deno.chmod(`${out.path}/copy/zero`, 0o666);
  assertEquals(digestOfFolder(`${out.path}/copy`) === digest, false);
});

platformTest("stock btrfs receive takes a packed stream", async () => {
  await using a = await tempFolder();
  await using fs = await btrfsScratch();
  await example(a.path);
  const { digest, bytes } = packed(a.path);
  await Deno.writeFile(`${a.path}.stream`, bytes);
  try {
    await sh("btrfs", "receive", "-f", `${a.path}.stream`, fs.path);
  } finally {
    await Deno.remove(`${a.path}.stream`);
  }
  assertEquals(digestOfFolder(`${fs.path}/x@v1.0.0`), digest);
  const shown = await sh("btrfs", "subvolume", "show", `${fs.path}/x@v1.0.0`);
  assertIncludes(shown, /Received UUID:\s+[0-9a-f-]{36}/);
});

Deno.test("what is no package content is refused with its path", async () => {
  await using a = await tempFolder();
  await Deno.symlink("/etc/passwd", `${a.path}/out`);
  assertThrows(() => packed(a.path), InputError, /\/out: the link leaves the folder/);
  await Deno.remove(`${a.path}/out`);
  await sh("mkfifo", `${a.path}/pipe`);
  assertThrows(() => packed(a.path), InputError, /\/pipe: it is a fifo/);
  for (const name of ["", ".", "..", "a/b"]) {
    const all = () => [...packFolder(a.path, { name })];
    assertThrows(all, InputError, /Cannot name/);
  }
});
