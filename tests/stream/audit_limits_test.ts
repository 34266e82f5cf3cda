/** What a small hostile stream could make an audit spend: memory, passes, windows. */
import { deflateSync, zstdCompressSync } from "node:zlib";
import { StreamError } from "../../lib/stream/error.ts";
import { auditStream, type AuditStreamOptions } from "../../lib/stream/inspect.ts";
import { PLUGIN_LIMITS, type StreamLimits } from "../../lib/stream/limits.ts";
import { type ByteSource, bytesSource } from "../../lib/stream/source.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { concat, make, stream, stream2, u32 } from "../support/stream_builder.ts";

async function refused(
  source: Uint8Array | ByteSource,
  pattern: RegExp,
  limits: Partial<StreamLimits> = {},
  options: AuditStreamOptions = {},
) {
  const from = source instanceof Uint8Array ? bytesSource(source) : source;
  const all = { ...PLUGIN_LIMITS, ...limits };
  const run = () => auditStream(from, { ...options, limits: all });
  return await assertRejects(run, StreamError, pattern);
}

Deno.test("hard links count as files do: each of them is kept in memory", async () => {
  const links = ["a", "b", "c"].map((name) => make.link(name, "f"));
  const bytes = stream(make.mkfile("f"), ...links);
  await refused(bytes, /more than 3 files, folders and links/, { names: 3 });
  const { tree } = await auditStream(bytesSource(bytes));
  assertEquals([tree.names, tree.textBytes], [4, 4]);
});

Deno.test("names and link targets have a limit together", async () => {
  const long = make.symlink("l", "x".repeat(4000));
  await refused(stream(long), /more than 4000 bytes of names/, { textBytes: 4000 });
  const grown = stream(make.mkfile("f"), make.rename("f", "f".repeat(200)));
  await refused(grown, /more than 100 bytes of names/, { textBytes: 100 });
  const hard = stream(long, make.link("m", "l"));
  await refused(hard, /more than 8000 bytes of names/, { textBytes: 8000 });
  // What goes is taken off again.
  const changing = stream(
    ...[long, make.link("m", "l"), make.unlink("l"), make.rename("m", "name")],
    ...[make.unlink("name"), make.mkdir("dd"), make.rmdir("dd"), make.mkfile("file")],
  );
  const { tree } = await auditStream(bytesSource(changing));
  assertEquals([tree.names, tree.textBytes], [1, 4]);
});

Deno.test("a tree of paths that the kernel would not take", async () => {
  const folders = (name: string) => {
    let path = "";
    return Array.from({ length: 9 }, () => {
      path += (path ? "/" : "") + name.repeat(255);
      return path;
    });
  };
  const a = folders("a"), b = folders("b");
  const moved = make.rename(b[0]!, `${a.at(-1)!}/b`);
  const bytes = stream(...[...a, ...b].map((path) => make.mkdir(path)), moved);
  await refused(bytes, /a path of 4097 bytes/);
});

Deno.test("time is looked at before each read", async () => {
  await refused(stream(), /takes longer than -1 ms/, { timeMs: -1 });
});

/** A zstd frame around bytes as they are, which asks for a window of 2 ** log bytes. */
function framed(bytes: Uint8Array, log: number): Uint8Array {
  const header = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3);
  return concat(header, u32(bytes.length << 3 | 1).subarray(0, 3), bytes);
}

Deno.test("a zstd frame does not choose how much memory it gets", async () => {
  const bytes = stream(make.mkfile("f"));
  const { tree } = await auditStream(bytesSource(framed(bytes, 25)));
  assertEquals(tree.names, 1);
  await refused(framed(bytes, 26), /damaged zstd/);
});

Deno.test("frames have a limit, those of no content too", async () => {
  const skippable = concat(u32(0x184d2a50), u32(0));
  const frame = new Uint8Array(zstdCompressSync(stream()));
  const three = concat(skippable, skippable, frame);
  await auditStream(bytesSource(three));
  await refused(three, /more than 2 zstd frames/, { zstdFrames: 2 });
});

Deno.test("an extent does not decode to more than one may hold", async () => {
  const zeros = new Uint8Array(4 * 1024 * 1024),
    part = { fileLength: 4096, length: 4096 };
  for (
    const [compression, data] of [[1, deflateSync(zeros)], [2, zstdCompressSync(zeros)]]
  ) {
    const extent = { ...part, compression: compression as number, data: data as Buffer };
    const bytes = stream2(make.mkfile("f"), make.encodedWrite("f", extent));
    await refused(bytes, /encoded_write: /);
  }
});

/** A file that consists of another's blocks from the last to the first. */
function backwards(blocks: number): Uint8Array {
  const commands = [make.mkfile("f"), make.mkfile("g")];
  for (let n = 0; n < blocks; n++) commands.push(make.write("g", n, `${n % 10}`));
  for (let n = 0; n < blocks; n++) {
    commands.push(make.clone("f", n, 1, "g", blocks - 1 - n));
  }
  return stream(...commands);
}

Deno.test("clones that want the stream read again and again are left", async () => {
  const { digest } = await auditStream(bytesSource(backwards(64)));
  assertEquals(digest?.length, 64);
  await refused(backwards(65), /too tangled/);
});

Deno.test("a stream that changes between two passes is noticed", async () => {
  const first = backwards(3);
  let opened = 0;
  const shifty: ByteSource = {
    name: "shifty",
    replayable: true,
    open: () => bytesSource(opened++ === 0 ? first : stream()).open(),
  };
  await refused(shifty, /it changed while it was read/);
  assertEquals(opened, 2);
});

Deno.test("a small file of many pieces is read in one pass over both", async () => {
  const text = "name = 'pieces'\n".repeat(20), commands = [make.mkfile("plugin.toml")];
  for (let n = 0; n < text.length; n++) {
    commands.push(make.write("plugin.toml", n, text[n]!));
  }
  const half = text.length / 2;
  commands.push(make.mkfile("g"), make.clone("g", 0, half, "plugin.toml", half));
  const keep = ["plugin.toml", "g"];
  const { kept } = await auditStream(bytesSource(stream(...commands)), { keep });
  const read = keep.map((name) => new TextDecoder().decode(kept.get(name)));
  assertEquals(read, [text, text.slice(half)]);
});
