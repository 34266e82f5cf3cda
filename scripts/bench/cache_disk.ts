/** The cache on disk: space, compaction, opening, cold reads. Needs root for loop mounts. */
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
  wanted,
} from "../bench_kit.ts";

const LARGE = Deno.env.get("OPDBUS_BENCH_LARGE") === "0" ? 100_000 : 1_000_000;
const COUNT = 100_000;
const SMALL = 10_000;
const SIZES = [...new Set([SMALL, COUNT, LARGE])];
const LOOSE_SIZES = LARGE === COUNT ? [SMALL, COUNT] : [SMALL, COUNT, 300_000];
const COLD_READS = 1000;
const MIB = 1024 * 1024;

async function sh(command: string, ...args: string[]): Promise<string> {
  const out = await new Deno.Command(command, { args, stdin: "null" }).output();
  const text = new TextDecoder();
  if (!out.success) throw new Error(`${command}: ${text.decode(out.stderr)}`);
  return text.decode(out.stdout);
}

/** A cache of so many packed vectors; nothing of it stays mapped in this process. */
async function fillInChild(folder: string, count: number): Promise<void> {
  const script = new URL("./children/cache_fill_packed.ts", import.meta.url).pathname;
  await sh(Deno.execPath(), "run", "--quiet", "-A", script, folder, String(count));
}

/** A fresh btrfs on a loop device, compressing as op-dbus has it. */
async function mountFresh(scratch: string, name: string, sizeMb: number) {
  const image = `${scratch}/${name}.img`, path = `${scratch}/${name}`;
  await Deno.mkdir(path);
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, sizeMb * MIB);
  await sh("mkfs.btrfs", "-q", image);
  const device = (await sh("losetup", "--find", "--show", image)).trim();
  const mount = () => sh("mount", "-o", "compress=zstd", device, path);
  await mount();
  return {
    path,
    device,
    /** Forgets everything that is cached of it. */
    async remount() {
      await sh("umount", path);
      await mount();
    },
    async [Symbol.asyncDispose]() {
      // Lazily: what this process has mapped goes when it is collected.
      await sh("umount", "-l", path);
      await sh("losetup", "-d", device);
    },
  };
}

/** Bytes in use of a file system, everything written. */
async function usedBytes(path: string): Promise<number> {
  const { statfs } = await import("../../ffi/stat.ts");
  await sh("sync", "-f", path);
  const { totalBytes, freeBytes } = statfs(path);
  return totalBytes - freeBytes;
}

/** What the seed's layout takes for so many vectors, per vector. */
async function seedBytes(scratch: string, count: number): Promise<number> {
  const fill = await import("../lib/cache_fill.ts");
  const { SeedCache } = await import("../lib/seed_baseline.ts");
  await using theirs = await mountFresh(scratch, "seed", 2048);
  const empty = await usedBytes(theirs.path);
  const matrix = new Float32Array(384 * 1000);
  {
    using seed = new SeedCache(theirs.path);
    for (let from = 0; from < count; from += 1000) {
      const texts = Array.from({ length: 1000 }, (_, i) => fill.benchText(from + i));
      texts.forEach((_, i) => fill.benchVector(from + i, matrix, i * 384));
      seed.put(texts, matrix);
    }
  }
  return (await usedBytes(theirs.path) - empty) / count;
}

async function spaceOf(
  { scratch, note }: BenchContext,
  count: number,
): Promise<Row[]> {
  await using ours = await mountFresh(
    scratch,
    `ours-${count}`,
    count < 500_000 ? 1024 : 2048,
  );
  const empty = await usedBytes(ours.path);
  const each = async () => (await usedBytes(ours.path) - empty) / count;
  note(`filling ${count}`);
  await fillInChild(ours.path, count);
  const whole = await each();
  await Deno.remove(`${ours.path}/index.db`);
  const both = await each();
  await Deno.remove(`${ours.path}/vectors/pack-1.idx`);
  const vectors = await each();
  // The seed's layout writes a file for each vector: once is enough.
  const value = count === COUNT ? await seedBytes(scratch, count) : null;
  const peer = value === null ? undefined : { name: "the seed's layout", value };
  const why = "580 bytes of int12 and a whole key of 32 are 612 already";
  const figure = (name: string, value: number) =>
    row(`cache-space/${name}@${count}`, "bytes/vector", "lower", value, peer);
  return [
    wanted(figure("vectors", vectors), { most: 600 }),
    wanted(figure("with-keys", both), { most: 600, why }),
    figure("with-texts-and-index", whole),
  ];
}

/**
 * A figure at each size, the smallest first, and how it grew to the largest. A target is
 * that of `wantedAt`.
 */
async function atSizes(
  sizes: readonly number[],
  wantedAt: number,
  measure: (size: number) => Promise<Row[]>,
): Promise<Row[]> {
  const rows: Row[] = [], found: Row[][] = [];
  for (const size of sizes) {
    const some = await measure(size);
    found.push(some);
    rows.push(
      ...some.map(({ target, ...one }) =>
        target && size === wantedAt ? { ...one, target } : one
      ),
    );
  }
  const growths = found.at(-1)!.map((one, i) => {
    const name = one.name.replace(/@\d+$/, "");
    const peer = { name: `the same at ${sizes[0]} entries`, value: found[0]![i]!.value };
    return row(`${name}/growth`, one.unit, one.better, one.value, peer);
  });
  return [...rows, ...growths];
}

async function compactionOf(
  { scratch, note }: BenchContext,
  count: number,
): Promise<Row[]> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const fill = await import("../lib/cache_fill.ts");
  await using disk = await mountFresh(scratch, `compact-${count}`, 4096);
  using embedder = new fill.BenchEmbedder();
  {
    using cache = EmbeddingCache.open(disk.path, {
      arenaBytes: 0,
      durability: "relaxed",
    });
    note(`storing ${count} loose vectors`);
    for (let from = 0; from < count; from += 10_000) {
      const texts = Array.from({ length: 10_000 }, (_, i) => fill.benchText(from + i));
      await cache.getOrEmbed(texts, embedder);
    }
  }
  await sh("sync", "-f", disk.path);
  using cache = EmbeddingCache.open(disk.path, { arenaBytes: 0, durability: "relaxed" });
  const begun = performance.now();
  const { packed } = cache.compact();
  const seconds = (performance.now() - begun) / 1000;
  if (packed !== count) throw new Error(`${packed} packed`);
  const each = seconds * 1e6 / count;
  return [
    wanted(row(`cache-compact/loose@${count}`, "s", "lower", seconds), {
      most: 5,
      why: "btrfs alone takes 2.8 s to remove that many files, and 4 s on two threads",
    }),
    row(`cache-compact/per-vector@${count}`, "µs", "lower", each),
  ];
}

async function openingOf(
  { scratch, note }: BenchContext,
  count: number,
): Promise<Row[]> {
  const folder = `${scratch}/open-${count}`;
  Deno.mkdirSync(folder);
  note(`filling ${count}`);
  await fillInChild(folder, count);
  const { bundle } = await import("../lib/bundle_child.ts");
  const child = await bundle("cache_open.ts", scratch);
  const run = (...args: string[]) => () =>
    sh(
      Deno.execPath(),
      "run",
      "--quiet",
      "-A",
      "--no-config",
      "--no-lock",
      child,
      ...args,
    );
  const [open, empty] = await sideBySide([run(folder), run()], { rounds: 15, warmup: 3 });
  const here = new URL("./children/", import.meta.url).pathname;
  const args = ["run", "--quiet", "-A", `${here}cache_memory.ts`, folder, String(count)];
  const { bytes } = JSON.parse(await sh(Deno.execPath(), ...args));
  return [
    wanted(
      row(`cache-open/to-first-hit@${count}`, "ms", "lower", open! - empty!, {
        name: "an empty process, which is not counted in",
        value: empty!,
      }),
      { most: 15 },
    ),
    wanted(
      row(`cache-open/memory@${count}`, "bytes/vector", "lower", bytes / count),
      { most: 120 },
    ),
  ];
}

async function coldOf({ scratch }: BenchContext, count: number): Promise<Row[]> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const fill = await import("../lib/cache_fill.ts");
  await using disk = await mountFresh(
    scratch,
    `cold-${count}`,
    count < 500_000 ? 512 : 2048,
  );
  await fillInChild(disk.path, count);
  await disk.remount();
  const reads = async () => {
    const stat = await Deno.readTextFile(`/sys/block/${disk.device.slice(5)}/stat`);
    return Number(stat.trim().split(/\s+/)[0]);
  };
  const before = await reads();
  using cache = EmbeddingCache.open(disk.path, { arenaBytes: 0 });
  const one = new Float32Array(384);
  for (let i = 0; i < COLD_READS; i++) {
    const text = fill.freshText((Math.imul(i + 1, 0x9e3779b1) >>> 0) % count);
    cache.lookup(text, fill.BENCH_IDENTITY, one);
  }
  const each = (await reads() - before) / COLD_READS;
  const figure = row(`cache-cold/reads@${count}`, "I/Os per vector", "lower", each);
  return [wanted(figure, { most: 1.3 })];
}

export const benches: Bench[] = [
  {
    name: "cache-space",
    about: "bytes on disk by statfs, against the seed's",
    run: (context) => atSizes(SIZES, COUNT, (size) => spaceOf(context, size)),
  },
  {
    name: "cache-compact",
    about: "loose files into a pack; 300,000 at most, a million would take minutes",
    run: (context) => atSizes(LOOSE_SIZES, COUNT, (size) => compactionOf(context, size)),
  },
  {
    name: "cache-open",
    about: "start to first hit, memory held",
    run: (context) => atSizes([SMALL, LARGE], LARGE, (size) => openingOf(context, size)),
  },
  {
    name: "cache-cold",
    about: "reads per vector from a cold disk",
    run: (context) => atSizes([SMALL, LARGE], LARGE, (size) => coldOf(context, size)),
  },
];
