/** Streams long enough to be hashed on another core while they are received. */
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { auditStream } from "../../lib/stream/inspect.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { fileSource } from "../../lib/stream/source.ts";
import { assertEquals } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { make, stream } from "../support/stream_builder.ts";

const PIECE_BYTES = 48_000, PIECES = 40, FILES = 20;

function piece(seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PIECE_BYTES);
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * seed) >>> 3;
  return bytes;
}

function file(name: string, seed: number) {
  const writes = Array.from(
    { length: PIECES },
    (_, n) => make.write(name, n * PIECE_BYTES, piece(seed + n)),
  );
  return [make.mkfile(`o${seed}`), make.rename(`o${seed}`, name), ...writes];
}

const files = (from: number) =>
  Array.from({ length: FILES / 2 }, (_, n) => file(`f${from + n}`, 100 * (from + n + 1)));

/** Files that are written, left, and changed once more in every way there is. */
const LONG = stream(
  make.chmod("", 0o755),
  ...files(0).flat(),
  make.write("f0", 5, piece(7)),
  make.truncate("f1", 100_000),
  make.clone("f2", 0, 4096, "f3", 4096),
  make.link("hard", "f4"),
  make.write("hard", 0, piece(9)),
  make.unlink("f5"),
  make.mkdir("d"),
  make.rename("f6", "d/moved"),
  make.write("d/moved", 1_000_000, piece(11)),
  make.truncate("f7", 3_000_000),
  ...files(FILES / 2).flat(),
  make.write("f8", 0, piece(13)),
  make.utimes("d", 1234),
  make.mkfile("d/late"),
);

Deno.test("files changed after they were read back have their last content", async () => {
  await using there = await tempFolder();
  const path = `${there.path}/stream`;
  await Deno.writeFile(path, LONG);
  await Deno.mkdir(`${there.path}/in`);
  const alone = await auditStream(fileSource(path), { worker: null });
  assertEquals((await auditStream(fileSource(path))).digest, alone.digest);
  const options = { folder: `${there.path}/in`, plain: true };
  const got = await receiveStream(fileSource(path), options);
  assertEquals(got.digest, alone.digest);
  assertEquals(digestOfFolder(got.path), alone.digest!);
  const { mtime } = await Deno.stat(`${got.path}/d`);
  assertEquals(mtime?.getTime(), 1_234_000);
});

Deno.test("a file that has the inode number of one that is gone has its own content", async () => {
  await using there = await tempFolder();
  const path = `${there.path}/stream`, long = piece(3);
  const again = Array.from({ length: 100 }, (_, n) => [
    make.mkfile("gone"),
    make.write("gone", 0, long),
    make.write("gone", PIECE_BYTES, long), // enough to be read back at once
    make.truncate("gone", 8),
    make.unlink("gone"),
    make.mkfile(`here${n}`),
    make.write(`here${n}`, 0, "8 bytes."),
  ]);
  await Deno.writeFile(path, stream(...files(0).flat(), ...again.flat()));
  await Deno.mkdir(`${there.path}/in`);
  const options = { folder: `${there.path}/in`, plain: true };
  const got = await receiveStream(fileSource(path), options);
  assertEquals(digestOfFolder(got.path), got.digest!);
  assertEquals(await Deno.readTextFile(`${got.path}/here99`), "8 bytes.");
});
