import { createHash } from "node:crypto";
import { SysError } from "../../ffi/errno.ts";
import { HashWorker } from "../../ffi/hash_worker.ts";
import { O_DIRECTORY, O_RDONLY, open } from "../../ffi/files.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

const sha = (...pieces: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
};
const hex = (bytes: Uint8Array) => bytes.toHex();

async function started(): Promise<HashWorker> {
  const worker = new HashWorker();
  while (!worker.ready) await new Promise((resolve) => setTimeout(resolve, 1));
  return worker;
}

function filled(bytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) out[at] = (at * 31 + seed * (at >>> 8)) & 255;
  return out;
}

Deno.test("a worker hashes pieces of many contents at once, far beyond its ring", async () => {
  using worker = await started();
  const contents = Array.from({ length: 7 }, (_, n) => filled(900_001 + n * 77_777, n));
  const ids = contents.map(() => worker.begin());
  for (let at = 0; at < 1_500_000; at += 48_000) {
    contents.forEach((bytes, n) =>
      worker.update(ids[n]!, bytes.subarray(at, at + 48_000))
    );
  }
  const digests = ids.map((id) => worker.digest(id));
  assertEquals(
    digests.map((later) => hex(later.get().sha256)),
    contents.map((b) => sha(b)),
  );
});

Deno.test("zeros, nothing at all, one large piece, and more digests than slots", async () => {
  using worker = await started();
  const large = filled(5_000_000, 3), id = worker.begin(), empty = worker.begin();
  worker.update(id, large);
  worker.zeros(id, 700_000);
  const digest = worker.digest(id), nothing = worker.digest(empty);
  assertEquals(hex(digest.get().sha256), sha(large, new Uint8Array(700_000)));
  assertEquals(hex(nothing.get().sha256), sha());
  const many = Array.from({ length: 300 }, (_, n) => {
    const small = worker.begin();
    worker.update(small, filled(n, n));
    return worker.digest(small);
  });
  await worker.settled();
  assertEquals(
    many.map((d) => hex(d.get().sha256)),
    many.map((_, n) => sha(filled(n, n))),
  );
});

Deno.test("a worker reads open files and closes them; what it cannot read says why", async () => {
  await using folder = await tempFolder();
  using worker = await started();
  const bytes = filled(1_000_003, 9);
  await Deno.writeFile(`${folder.path}/f`, bytes);
  const later = Array.from(
    { length: 100 },
    () => worker.hashFile(open(`${folder.path}/f`, O_RDONLY)),
  );
  for (const each of later) {
    assertEquals(each.get().sizeBytes, bytes.length);
    assertEquals(hex(each.get().sha256), sha(bytes));
  }
  const unreadable = worker.hashFile(open(folder.path, O_RDONLY | O_DIRECTORY));
  assertThrows(() => unreadable.get(), SysError, /EISDIR/);
  const left = [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(folder.path);
    } catch {
      return false; // the listing's own
    }
  });
  assertEquals(left, []);
});
