import { SysError } from "../../ffi/errno.ts";
import { close, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { type FileBatch, readNumbered, strayNames } from "../../ffi/numbered_files.ts";
import { dropPages, preadUncached, unprobed } from "../../ffi/uncached.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";

const LIMIT_BYTES = 200_000;
const SIZES = [1, 4095, 4096, 4097, 0, 8192, 70_000, 199_999, 200_000, 300_000, 430];

/** So many files of odd sizes, full of their number. */
async function numbered(count: number) {
  const scratch = await tempFolder("op-dbus-numbered-");
  for (let n = 0; n < count; n++) {
    const size = n < 100 ? SIZES[n % SIZES.length]! : 1 + n % 500;
    Deno.writeFileSync(`${scratch.path}/${n}.bin`, new Uint8Array(size).fill(n));
  }
  return scratch;
}

async function* batches(path: string, to: number): AsyncGenerator<FileBatch> {
  const folderFd = open(path, O_RDONLY);
  try {
    const range = { folderFd, from: 0, to, suffix: ".bin", limitBytes: LIMIT_BYTES };
    yield* readNumbered(range);
  } finally {
    close(folderFd);
  }
}

async function checkAll(path: string, count: number): Promise<void> {
  let next = 0;
  for await (const batch of batches(path, count)) {
    assertEquals(batch.first, next);
    for (let at = 0; at < batch.count; at++, next++) {
      const expected = Deno.readFileSync(`${path}/${next}.bin`).subarray(0, LIMIT_BYTES);
      const found = batch.bytes(at)!;
      const same = found.length === expected.length &&
        found.every((byte, i) => byte === expected[i]);
      assertTrue(same, `file ${next}`);
    }
  }
  assertEquals(next, count);
}

Deno.test("numbered files come whole and in order, from memory and from the disk", async () => {
  await using scratch = await numbered(700);
  await checkAll(scratch.path, 700);
  await sh("sync", "-f", scratch.path);
  for (let n = 0; n < 700; n += 2) { // every second one out of memory
    const of = `of=${scratch.path}/${n}.bin`;
    await sh("dd", of, "oflag=nocache", "conv=notrunc,fdatasync", "count=0");
  }
  await checkAll(scratch.path, 700);
});

Deno.test("a long run is read by workers, to the same bytes", async () => {
  await using scratch = await numbered(9000);
  await checkAll(scratch.path, 9000);
});

/** Reads files of a size in every way, some of them in memory before. */
async function checkResidency(folder: string, size: number): Promise<void> {
  await Deno.mkdir(folder);
  const paths = Array.from({ length: 40 }, (_, n) => `${folder}/${n}.bin`);
  for (const path of paths) Deno.writeFileSync(path, new Uint8Array(size).fill(7));
  await sh("sync", "-f", folder);
  const cold = paths.filter((_, n) => n % 3 !== 0);
  for (const path of cold) withFd(open(path, O_RDONLY), (fd) => dropPages(fd));
  const resident = async () =>
    (await sh("fincore", "-nb", "-o", "PAGES", ...paths)).trim().split(/\s+/);
  const before = await resident();
  const pages = `${Math.ceil(size / 4096)}`;
  assertEquals(before, paths.map((_, n) => n % 3 === 0 ? pages : "0"));
  let bytes = 0;
  for await (const batch of batches(folder, paths.length)) {
    for (let at = 0; at < batch.count; at++) bytes += batch.bytes(at)!.length;
  }
  assertEquals([bytes, await resident()], [paths.length * size, before]);
  const into = new Uint8Array(64 * 1024), support = unprobed();
  for (const path of paths) {
    const read = (fd: number) => preadUncached(fd, into, 0, support);
    assertEquals(withFd(open(path, O_RDONLY), read), size);
  }
  assertEquals(await resident(), before);
}

Deno.test("reading leaves in memory what was there and no more", async () => {
  await using scratch = await tempFolder("op-dbus-numbered-");
  await checkResidency(`${scratch.path}/small`, 400);
  await checkResidency(`${scratch.path}/large`, 50_000);
});

platformTest(
  "reading leaves in memory what was there: btrfs, also inline files",
  async () => {
    await using disk = await btrfsScratch(256);
    await checkResidency(`${disk.path}/small`, 400);
    await checkResidency(`${disk.path}/large`, 50_000);
  },
);

Deno.test("what stands in a file's place is missing or an error, and holds nobody up", async () => {
  await using scratch = await numbered(3);
  const path = (n: number) => `${scratch.path}/${n}.bin`;
  await Deno.mkdir(path(4));
  await Deno.symlink("/etc/passwd", path(5));
  await sh("mkfifo", path(6));
  for await (const batch of batches(scratch.path, 7)) {
    assertEquals(batch.count, 7);
    assertEquals(batch.bytes(3), null);
    assertThrows(() => batch.bytes(4), SysError, /EISDIR/);
    assertThrows(() => batch.bytes(5), SysError, /ELOOP/);
    assertEquals(batch.bytes(6)!.length, 0);
  }
});

Deno.test("names that are no number of the run are told", async () => {
  await using scratch = await numbered(12);
  const odd = [
    "012.bin",
    "-1.bin",
    "1.bin.old",
    "x.bin",
    ".bin",
    "7",
    "1e3.bin",
    "1234567890123456.bin",
  ];
  for (const name of odd) await Deno.writeTextFile(`${scratch.path}/${name}`, "");
  const { strange, beyond } = withFd(
    open(scratch.path, O_RDONLY),
    (fd) => strayNames(fd, ".bin", 10),
  );
  assertEquals([strange.toSorted(), beyond.toSorted()], [odd.toSorted(), [10, 11]]);
});
