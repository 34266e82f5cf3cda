import { SysError } from "../../ffi/errno.ts";
import { close, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { type FileBatch, readNumbered, strayNames } from "../../ffi/numbered_files.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";

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

Deno.test("reading numbered files leaves in memory what was there", async () => {
  await using scratch = await tempFolder("op-dbus-numbered-");
  const path = (n: number) => `${scratch.path}/${n}.bin`;
  for (let n = 0; n < 8; n++) Deno.writeFileSync(path(n), new Uint8Array(20_000).fill(n));
  await sh("sync", "-f", scratch.path);
  for (const n of [1, 3, 5]) {
    await sh("dd", `of=${path(n)}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0");
  }
  const resident = async () => {
    const paths = Array.from({ length: 8 }, (_, n) => path(n));
    return (await sh("fincore", "-nb", "-o", "PAGES", ...paths)).trim().split(/\s+/);
  };
  const before = await resident();
  assertEquals([before[1], before[3]], ["0", "0"]);
  assertEquals(before[0], "5");
  let bytes = 0;
  for await (const batch of batches(scratch.path, 8)) {
    for (let at = 0; at < batch.count; at++) bytes += batch.bytes(at)!.length;
  }
  assertEquals([bytes, await resident()], [8 * 20_000, before]);
});

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
