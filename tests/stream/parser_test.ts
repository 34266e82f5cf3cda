import type { StreamCommand } from "../../lib/stream/command.ts";
import { StreamError } from "../../lib/stream/error.ts";
import { PLUGIN_LIMITS } from "../../lib/stream/limits.ts";
import { StreamParser } from "../../lib/stream/parser.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import {
  command,
  concat,
  framed,
  header,
  make,
  stream,
  stream2,
  time,
  u32,
} from "../support/stream_builder.ts";

/** Parses bytes in pieces of a size; commands with their bytes copied. */
function parse(bytes: Uint8Array, piece = 65536, limits = PLUGIN_LIMITS) {
  using parser = new StreamParser(limits);
  const commands: StreamCommand[] = [];
  const keep = (command: StreamCommand) => commands.push(structuredClone(command));
  for (let at = 0; at < bytes.length; at += piece) {
    const part = bytes.subarray(at, at + piece);
    parser.space().set(part);
    parser.advance(part.length, keep);
  }
  parser.finish();
  return commands;
}

function fault(bytes: Uint8Array, pattern: RegExp, limits = PLUGIN_LIMITS): number {
  return assertThrows(() => parse(bytes, 65536, limits), StreamError, pattern).offset;
}

const EVERY = stream(
  make.mkfile("a"),
  make.mkdir("d"),
  make.symlink("l", "a"),
  make.rename("a", "d/a"),
  make.link("b", "d/a"),
  make.setXattr("b", "user.x", "v"),
  make.removeXattr("b", "user.x"),
  make.write("b", 0, "hello"),
  make.clone("b", 4096, 4096, "d/a", 0),
  make.truncate("b", 5),
  make.chmod("b", 0o644),
  make.chown("b", 1, 2),
  make.utimes("b", -5),
  make.unlink("b"),
  make.rmdir("d"),
);

Deno.test("every command comes out typed, whatever pieces the bytes come in", () => {
  const whole = parse(EVERY);
  assertEquals(whole.map(({ type }) => type), [
    "subvol",
    "mkfile",
    "mkdir",
    "symlink",
    "rename",
    "link",
    "set_xattr",
    "remove_xattr",
    "write",
    "clone",
    "truncate",
    "chmod",
    "chown",
    "utimes",
    "unlink",
    "rmdir",
    "end",
  ]);
  const times = whole.find(({ type }) => type === "utimes");
  assertEquals(times?.type === "utimes" && times.mtime.seconds, -5);
  const clone = whole.find(({ type }) => type === "clone");
  assertEquals(clone?.type === "clone" && [clone.offset, clone.length], [4096, 4096]);
  for (const piece of [1, 7, 100]) {
    assertEquals(JSON.stringify(parse(EVERY, piece), big), JSON.stringify(whole, big));
  }
});

const big = (_: string, value: unknown) =>
  typeof value === "bigint" ? `${value}n` : value;

Deno.test("version 2 data run to the end of the command", () => {
  const data = new Uint8Array(100_000).fill(7);
  const written = command(15, [[15, "f"], [18, 0], [19, data]], 2);
  const commands = parse(stream2(make.mkfile("f"), written));
  const write = commands.find(({ type }) => type === "write");
  assertEquals(write?.type === "write" && write.data.length, 100_000);
});

Deno.test("what is no stream is said with the offset", () => {
  assertEquals(fault(new Uint8Array(), /empty/), 0);
  assertEquals(fault(new TextEncoder().encode("btrfs-strean\0...."), /begin with/), 0);
  fault(concat(header(3), make.end()), /version is 3/);
  fault(concat(header(0), make.end()), /version is 0/);
  const cut = stream(make.mkfile("a"));
  for (const lost of [1, 5, 12, cut.length - 20]) {
    fault(cut.subarray(0, cut.length - lost), /cut short/);
  }
});

Deno.test("a bad crc, an unknown command, bytes after the end", () => {
  const at = header().length + make.subvol().length;
  const bytes = stream(make.mkfile("a"));
  bytes[at + 14]! ^= 1;
  assertEquals(fault(bytes, /mkfile: bad crc \(at byte \d+\)/), at);
  assertEquals(fault(stream(framed(77, new Uint8Array())), /command 77 is unknown/), at);
  fault(stream(framed(26, new Uint8Array())), /command 26 is unknown/);
  fault(stream(command(25, [])), /command 25 is unknown in version 1/);
  assertEquals(fault(concat(stream(), u32(0)), /after its end/), stream().length);
  fault(concat(stream(), stream()), /after its end/);
});

Deno.test("attributes missing, twice, out of place, of a wrong size", () => {
  fault(stream(command(3, [])), /mkfile: attribute path is missing/);
  fault(stream(command(11, [[15, "a"], [15, "b"]])), /path is there twice/);
  fault(stream(command(11, [[15, "a"], [19, "b"]])), /data is out of place/);
  fault(stream(command(11, [[15, "a"], [99, "b"]])), /attribute 99 is out of place/);
  fault(stream(command(11, [[15, "a"], [0, "b"]])), /attribute 0 is out of place/);
  fault(stream(command(18, [[15, "a"], [5, u32(1)]])), /mode has 4 bytes, not 8/);
  fault(stream(framed(11, Uint8Array.of(15, 0, 9, 0, 97))), /path is too long/);
  fault(stream(framed(11, Uint8Array.of(15, 0, 9))), /cut short/);
  fault(stream(make.truncate("a", 2n ** 60n)), /beyond all bounds/);
  fault(stream(make.chmod("a", 2 ** 31)), /mode is 020000000000/); // found by fuzzing
  fault(stream(make.mknod("a", 2 ** 32 + 0o20600, 1)), /mode is 0/);
  fault(stream(make.chown("a", 2 ** 32 - 1, 0)), /uid is 4294967295/);
  fault(stream(make.utimes("a", 2 ** 53)), /time is beyond all bounds/);
  fault(stream(make.utimes("a", -(2 ** 54))), /time is beyond all bounds/);
  const late = command(20, [
    [15, "a"],
    ...[9, 10, 11].map((n) => [n, time(0, 1e9)] as const),
  ]);
  fault(stream(late), /time has 1000000000 nanoseconds/);
  for (const name of ["", "x".repeat(256)]) {
    fault(stream(make.setXattr("a", name, "")), /an attribute name of \d+ bytes/);
    fault(stream(make.removeXattr("a", name)), /an attribute name of \d+ bytes/);
  }
  fault(stream(make.setXattr("a", "user.a\0b", "")), /NUL byte in an attribute/);
});

Deno.test("an extent larger than any, a part outside of it, a secret one", () => {
  const extent = (
    length: number,
    fileLength: number,
    more: [number, Uint8Array][] = [],
  ) =>
    stream2(command(
      25,
      [
        ...[[15, "a"], [18, 0], [27, fileLength], [28, length], [29, 0]] as const,
        ...more,
        [19, new Uint8Array(10)],
      ],
      2,
    ));
  assertEquals(parse(extent(131072, 131072)).length, 3);
  fault(extent(131073, 1), /an extent of 131073 bytes decoded/);
  fault(extent(100, 101), /the part is not inside/);
  fault(extent(100, 100, [[31, u32(1)]]), /encryption 1 is not known/);
});

Deno.test("paths that are no paths", () => {
  for (
    const [path, why] of [
      ["../x", /'\.\.' in a path/],
      ["a/../b", /'\.\.' in a path/],
      ["./x", /'\.' in a path/],
      ["/etc/passwd", /an absolute path/],
      ["a//b", /an empty path component/],
      ["a/", /an empty path component/],
      ["", /an empty path/],
      ["a\0b", /a NUL byte/],
      ["x".repeat(256), /a file name of 256 bytes/],
      ["a/".repeat(64) + "a", /deeper than 64/],
      [("x".repeat(250) + "/").repeat(17) + "x", /a path of 4268 bytes/],
    ] as const
  ) {
    fault(stream(make.mkfile(path)), why);
    fault(stream(make.rename("ok", path)), why);
    fault(stream(make.link("ok", path)), why);
    fault(stream(make.clone("ok", 0, 1, path, 0)), why);
  }
  assertEquals(parse(stream(make.chmod("", 0o755))).length, 3);
});

Deno.test("limits: command size before it is there, commands, stream bytes", () => {
  const huge = concat(header(), make.subvol(), Uint8Array.of(0, 0, 0, 128, 15, 0));
  fault(concat(huge, u32(0)), /a command of 2147483658 bytes/);
  const few = { ...PLUGIN_LIMITS, commands: 3 };
  fault(stream(make.mkfile("a"), make.mkfile("b")), /more than 3 commands/, few);
  fault(stream(make.mkfile("a")), /longer than 50/, {
    ...PLUGIN_LIMITS,
    streamBytes: 50,
  });
});

Deno.test("time and an abort are looked at between commands", () => {
  const many = stream(...new Array<Uint8Array>(1100).fill(make.unlink("a")));
  fault(many, /takes longer than -1 ms/, { ...PLUGIN_LIMITS, timeMs: -1 });
  const reason = new Error("stopped");
  using parser = new StreamParser(PLUGIN_LIMITS, AbortSignal.abort(reason));
  parser.space().set(many);
  const error = assertThrows(() => parser.advance(many.length, () => {}), Error);
  assertEquals(error, reason);
});
