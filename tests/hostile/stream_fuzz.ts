/**
 * Receives mutants of valid streams with canaries around: `deno run -A stream_fuzz.ts
 * FIRST_SEED COUNT`. A process of its own, so that its memory is its own. Prints what it
 * did as JSON; the first thing that is wrong ends it with the seed.
 */
import { zstdCompressSync } from "node:zlib";
import { asOpError, OpError } from "../../lib/base/errors.ts";
import { PLUGIN_LIMITS } from "../../lib/stream/limits.ts";
import { packFolder } from "../../lib/stream/pack.ts";
import { HOST_POLICY, PLUGIN_POLICY } from "../../lib/stream/policy.ts";
import { receiveStream } from "../../lib/stream/receive.ts";
import { bytesSource, chunksSource } from "../../lib/stream/source.ts";
import { assertTrue } from "../support/assert.ts";
import { type Canaries, canaries } from "../support/canaries.ts";
import { oneOf, seeded } from "../support/random.ts";
import { btrfsScratch, canMountBtrfs, tempFolder } from "../support/scratch.ts";
import { concat, make, stream, stream2 } from "../support/stream_builder.ts";
import { mutant } from "../support/stream_mutator.ts";

/** The canaries are looked at after so many, and at the end; a seed is found by halving. */
const LOOK_EVERY = 50;
/** Every so many-th mutant goes onto btrfs, which costs a sync. */
const BTRFS_EVERY = 10;
const LIMITS = {
  ...PLUGIN_LIMITS,
  totalBytes: 16 * 1024 * 1024,
  sparseBytes: 8 * 1024 * 1024,
  timeMs: 20_000,
};

/** Valid streams with every command among them. */
async function corpus(c: Canaries): Promise<Uint8Array[]> {
  await using folder = await tempFolder();
  await Deno.mkdir(`${folder.path}/state/deep`, { recursive: true });
  await Deno.writeTextFile(`${folder.path}/state/deep/file`, "text".repeat(2000));
  await Deno.symlink("deep", `${folder.path}/state/link`);
  const packed = concat(...packFolder(folder.path, { name: "packed" }));
  const extent = zstdCompressSync(new Uint8Array(8192).fill(65));
  const coded = { fileLength: 8192, length: 8192, compression: 2, data: extent };
  const common = [make.mkfile("o1"), make.rename("o1", "f"), make.mkdir("d")];
  return [
    packed,
    stream(
      ...common,
      make.write("f", 0, new Uint8Array(9000).fill(66)),
      make.link("d/hard", "f"),
      make.clone("d/hard", 8192, 4096, "f", 0),
      make.truncate("f", 5000),
      make.setXattr("f", "user.k", "v"),
      make.removeXattr("f", "user.k"),
      make.symlink("d/l", "../f"),
      make.chmod("f", 0o755),
      make.chown("f", 0, 0),
      make.utimes("d", 77),
      make.unlink("f"),
      make.mkdir("d/e"),
      make.rmdir("d/e"),
      make.rename("d", "e"),
    ),
    stream2(...common, make.encodedWrite("f", coded), make.chmod("", 0o755)),
    stream(
      ...common,
      make.symlink("l", c.beside.replace(/\/beside$/, "")),
      make.mknod("n", 0o060666, Number(c.device)),
      make.mkfifo("p"),
      make.mksock("s"),
      make.chmod("f", 0o4755),
      make.setXattr("f", "trusted.x", "y"),
      make.write("f", 2 ** 20, "far"),
      make.updateExtent("f"),
    ),
  ];
}

function attackPaths(c: Canaries): Uint8Array[] {
  return [
    ...["..", "../beside", "../../x", ".", "/", "", "l", "l/beside", "l/secret", "d/l"],
    ...["f", "d", "d/hard", "n", "p", "s", "e", "o1", "d/e/x", "x".repeat(256)],
    ...[c.beside, c.secret, c.elsewhere, "/etc/passwd", "a\0b", "f/..", "d//f", "d/"],
  ].map((path) => new TextEncoder().encode(path));
}

async function oneMutant(
  seed: number,
  streams: Uint8Array[],
  paths: Uint8Array[],
  folder: string,
): Promise<boolean> {
  const random = seeded(seed), bytes = mutant(random, streams, paths);
  const wrapped = random() < 0.1 ? zstdCompressSync(bytes) : bytes;
  const once = async function* () {
    yield await Promise.resolve(wrapped);
  };
  const source = random() < 0.5 ? bytesSource(wrapped) : chunksSource(once());
  const policy = oneOf(random, [PLUGIN_POLICY, PLUGIN_POLICY, HOST_POLICY]);
  const options = { folder, policy, limits: LIMITS };
  try {
    const got = await receiveStream(source, { ...options, name: "mutant" });
    await discard(got.path);
    return true;
  } catch (error) {
    if (!(error instanceof OpError) || asOpError(error).code === "internal") {
      throw new Error(`not an error of the family: ${error}`, { cause: error });
    }
    return false;
  }
}

async function discard(path: string): Promise<void> {
  const { deleteSubvolume, isSubvolume, openFolder } = await import("../../ffi/btrfs.ts");
  const { close } = await import("../../ffi/files.ts");
  const slash = path.lastIndexOf("/"), name = path.slice(slash + 1);
  const fd = openFolder(path), parent = openFolder(path.slice(0, slash));
  try {
    if (isSubvolume(fd)) return deleteSubvolume(parent, name);
    const { removeTree } = await import("../../lib/stream/remove_tree.ts");
    removeTree(parent, new TextEncoder().encode(name));
  } finally {
    close(fd);
    close(parent);
  }
}

/** What a run found. */
export interface FuzzReport {
  readonly mutants: number;
  /** Mutants that were received in full. */
  readonly taken: number;
  readonly largestRssBytes: number;
}

async function fuzz(first: number, mutants: number): Promise<FuzzReport> {
  await using plain = await canaries();
  await using fs = canMountBtrfs() ? await btrfsScratch(256) : null;
  if (fs) await Deno.mkdir(`${fs.path}/target`);
  await using onBtrfs = fs ? await canaries(`${fs.path}/target`) : null;
  const places = onBtrfs ? [plain, onBtrfs] : [plain];
  const streams = await corpus(plain), paths = attackPaths(plain);
  let taken = 0, largestRssBytes = 0;
  const last = first + mutants - 1;
  for (let seed = first; seed <= last; seed++) {
    const where = `OPDBUS_SEED=${seed} OPDBUS_FUZZ=1`;
    const place = onBtrfs && seed % BTRFS_EVERY === 0 ? onBtrfs : plain;
    try {
      if (await oneMutant(seed, streams, paths, place.target)) taken++;
    } catch (error) {
      throw new Error(where, { cause: error });
    }
    if (seed % LOOK_EVERY !== 0 && seed !== last) continue;
    for (const { changes } of places) {
      const found = changes();
      const since = `within the last ${LOOK_EVERY} before ${where}`;
      assertTrue(found.length === 0, `${found.join(", ")} ${since}`);
    }
    largestRssBytes = Math.max(largestRssBytes, Deno.memoryUsage().rss);
  }
  return { mutants, taken, largestRssBytes };
}

if (import.meta.main) {
  const report = await fuzz(Number(Deno.args[0]), Number(Deno.args[1]));
  console.log(JSON.stringify(report));
}
