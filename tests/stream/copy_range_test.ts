import { assertEquals, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { close, ftruncate, O_CREAT, O_RDWR, open, pwriteAll } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { copyRange } from "../../lib/stream/copy_range.ts";

/** 1 TiB on ext4 and btrfs; the copy of it once filled a tmpfs and the machine's memory. */
const HOLE_BYTES = 2 ** 40;

Deno.test("a clone of a huge hole on a plain folder stores no zeros", async () => {
  await using folder = await tempFolder();
  const source = open(`${folder.path}/source`, O_RDWR | O_CREAT, 0o600);
  const target = open(`${folder.path}/target`, O_RDWR | O_CREAT, 0o600);
  try {
    const head = new Uint8Array(8192).fill(7), tail = new Uint8Array(4096).fill(9);
    pwriteAll(source, head, 0);
    ftruncate(source, HOLE_BYTES);
    pwriteAll(source, tail, HOLE_BYTES - tail.length);
    pwriteAll(target, new Uint8Array(64 * 1024).fill(5), 0);
    copyRange(source, 0, target, 0, HOLE_BYTES);
    const stat = fstat(target);
    assertEquals(stat.sizeBytes, HOLE_BYTES);
    assertTrue(stat.blocks * 512 < 1024 * 1024, `${stat.blocks} blocks stored`);
    const file = await Deno.open(`${folder.path}/target`);
    const bytes = new Uint8Array(64 * 1024);
    await file.read(bytes);
    file.close();
    const expected = new Uint8Array(64 * 1024);
    expected.set(head);
    assertEquals(bytes, expected);
  } finally {
    close(source);
    close(target);
  }
});

Deno.test("a range copied within one file, and beyond the end of the source", async () => {
  await using folder = await tempFolder();
  const fd = open(`${folder.path}/file`, O_RDWR | O_CREAT, 0o600);
  try {
    const bytes = crypto.getRandomValues(new Uint8Array(20_000));
    pwriteAll(fd, bytes, 0);
    copyRange(fd, 100, fd, 30_000, 5000);
    copyRange(fd, 19_000, fd, 50_000, 1000);
    const read = await Deno.readFile(`${folder.path}/file`);
    assertEquals(read.subarray(30_000, 35_000), bytes.subarray(100, 5100));
    assertEquals(read.subarray(50_000, 51_000), bytes.subarray(19_000, 20_000));
    assertEquals(read.subarray(20_000, 30_000), new Uint8Array(10_000));
    copyRange(fd, 50_500, fd, 60_000, 10_000); // 500 bytes are there
    assertEquals((await Deno.stat(`${folder.path}/file`)).size, 60_500);
  } finally {
    close(fd);
  }
});
