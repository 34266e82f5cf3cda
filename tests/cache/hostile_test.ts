/** Damage, crashes, full disks, other processes. */
import {
  assertEquals,
  assertIncludes,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { OpError } from "../../lib/base/errors.ts";
import { EmbeddingCache, verifyCache } from "../../lib/cache/embedding_cache.ts";
import { isSound } from "../../lib/cache/verify.ts";
import { child, DenseEmbedder, outputOf, textsOf } from "./support.ts";

const COLD = { arenaBytes: 0 };

function vectorFiles(folder: string): string[] {
  return [...Deno.readDirSync(`${folder}/vectors`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".bin") && !name.startsWith(".")).sort()
    .map((name) => `${folder}/vectors/${name}`);
}

Deno.test("damaged, short, missing and foreign files are misses that heal, and are counted", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  const texts = textsOf(10);
  using cache = EmbeddingCache.open(folder.path, COLD);
  const { matrix } = await cache.getOrEmbed(texts, embedder);
  const files = vectorFiles(folder.path);
  const flip = Deno.readFileSync(files[0]!);
  flip[300]! ^= 16;
  Deno.writeFileSync(files[0]!, flip);
  Deno.truncateSync(files[1]!, 17);
  Deno.truncateSync(files[2]!, 0);
  Deno.removeSync(files[3]!);
  Deno.copyFileSync(files[5]!, files[4]!);
  Deno.removeSync(files[6]!);
  Deno.mkdirSync(files[6]!);
  Deno.removeSync(files[7]!);
  Deno.symlinkSync("/etc/passwd", files[7]!);
  const report = cache.verify();
  assertEquals([report.damaged.length, report.missing.length], [6, 1]);
  assertTrue(!isSound(report));
  Deno.removeSync(files[6]!); // a folder in the way is nothing a rename can replace
  const healed = await cache.getOrEmbed(texts, embedder);
  assertEquals([healed.misses, healed.healed, healed.diskHits], [7, 7, 3]);
  assertEquals(healed.matrix, matrix);
  assertEquals(cache.stats().lifetime.healed, 7);
  assertTrue(isSound(cache.verify()));
  assertEquals(Deno.lstatSync(files[7]!).isSymlink, false, "the link was replaced");
});

Deno.test("verify --repair drops what is damaged and gives orphans their row", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(textsOf(6), embedder);
  }
  const files = vectorFiles(folder.path);
  Deno.truncateSync(files[0]!, 50);
  Deno.removeSync(files[1]!);
  const stale = `${folder.path}/vectors/.tmp-1-1-${files[0]!.split("/").at(-1)}`;
  Deno.writeTextFileSync(stale, "half");
  Deno.utimeSync(stale, 1, 1);
  using cache = EmbeddingCache.open(folder.path);
  const report = cache.verify({ repair: true });
  assertEquals([report.damaged.length, report.missing.length], [1, 1]);
  assertEquals(report.temporaries.length, 1);
  const after = cache.verify();
  assertEquals([after.checked, after.damaged, after.missing], [4, [], []]);
  assertEquals([cache.stats().entries, after.temporaries], [4, []]);
});

Deno.test("a garbage index is one clear error, loses nothing, and is rebuilt from the files", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  const texts = textsOf(20);
  const index = `${folder.path}/index.db`;
  let first: Float32Array;
  {
    using cache = EmbeddingCache.open(folder.path);
    first = (await cache.getOrEmbed(texts, embedder)).matrix;
  }
  const garbage = "this is not a database ".repeat(500);
  Deno.writeTextFileSync(index, garbage);
  for (
    const open of [() => EmbeddingCache.open(folder.path), () => verifyCache(folder.path)]
  ) {
    const error = assertThrows(
      open,
      OpError,
      /^Cannot use the cache index .*not a database/,
    );
    assertEquals(error.code, "index_damaged");
    assertIncludes(error.hint!, "verify --repair");
    assertEquals(error.message.split("\n").length, 1);
  }
  assertEquals(Deno.readTextFileSync(index), garbage, "nothing was touched");
  const report = verifyCache(folder.path, { repair: true });
  assertEquals(report.rebuilt?.adopted, 20);
  assertEquals(Deno.readTextFileSync(report.rebuilt!.setAside), garbage);
  using cache = EmbeddingCache.open(folder.path);
  assertEquals(cache.search(first.subarray(0, 384), 5, embedder.identity), []);
  const again = await cache.getOrEmbed(texts, embedder);
  assertEquals([again.diskHits, again.matrix], [20, first]);
});

Deno.test("a rebuilt index gets texts and models back as entries are used", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  const texts = textsOf(20);
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(texts, embedder);
  }
  Deno.writeTextFileSync(`${folder.path}/index.db`, "garbage".repeat(100));
  verifyCache(folder.path, { repair: true });
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(texts, embedder);
  }
  using cache = EmbeddingCache.open(folder.path);
  const query = cache.get(texts[3]!, embedder.identity)!.vector;
  assertEquals(cache.search(query, 1, embedder.identity)[0]?.text, texts[3]);
});

Deno.test("an index of a newer version, or of another program, is left alone", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  const { DatabaseSync } = await import("node:sqlite");
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(["a"], embedder);
  }
  const change = (sql: string) => {
    const db = new DatabaseSync(`${folder.path}/index.db`);
    db.exec(sql);
    db.close();
  };
  change("PRAGMA user_version = 99");
  for (const repair of [false, true]) {
    const error = assertThrows(
      () => verifyCache(folder.path, { repair }),
      OpError,
      /schema 99/,
    );
    assertEquals(error.code, "index_newer");
  }
  change("PRAGMA user_version = 0");
  const foreign = assertThrows(() => EmbeddingCache.open(folder.path), OpError);
  assertEquals(foreign.code, "index_foreign");
  change("PRAGMA user_version = 1");
  using cache = EmbeddingCache.open(folder.path);
  assertEquals(cache.stats().entries, 1);
});

Deno.test("an index with a torn page is named damaged and can be rebuilt", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  const index = `${folder.path}/index.db`;
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(textsOf(500), embedder);
  }
  const bytes = Deno.readFileSync(index);
  bytes.fill(0xa5, 8192, bytes.length - 4096);
  Deno.writeFileSync(index, bytes);
  let problem = "";
  try {
    problem = verifyCache(folder.path).index.join();
  } catch (error) {
    problem = (error as OpError).code;
  }
  assertTrue(problem !== "");
  const report = verifyCache(folder.path, { repair: true });
  assertTrue(isSound(report));
  using cache = EmbeddingCache.open(folder.path);
  assertEquals((await cache.getOrEmbed(textsOf(500), embedder)).diskHits, 500);
});

Deno.test("two processes write the same thousand texts at once", async () => {
  await using folder = await tempFolder();
  EmbeddingCache.open(folder.path).close();
  const children = [0, 1].map(() => child("put_child.ts", folder.path, "1000", "same"));
  const outputs = await Promise.all(children.map(outputOf));
  const results = outputs.map((text) => JSON.parse(text.trim().split("\n").at(-1)!));
  assertEquals(results[0].matrix, results[1].matrix);
  using cache = EmbeddingCache.open(folder.path, COLD);
  using embedder = new DenseEmbedder();
  assertEquals((await cache.getOrEmbed(textsOf(1000, "same"), embedder)).misses, 0);
  const report = cache.verify();
  assertEquals([report.damaged, report.missing, report.orphans], [[], [], []]);
  assertEquals([report.checked, cache.stats().entries], [1000, 1000]);
});

Deno.test("killed in the middle of a batch, nothing acknowledged is lost or wrong", async () => {
  await using folder = await tempFolder();
  EmbeddingCache.open(folder.path).close();
  for (let round = 0; round < 4; round++) {
    const process = child("put_child.ts", folder.path, "3000", `round ${round}`);
    let acknowledged = 0, seen = "";
    for await (const piece of process.stdout.pipeThrough(new TextDecoderStream())) {
      seen += piece;
      acknowledged = Number(seen.match(/done (\d+)\n(?!.*done)/s)?.[1] ?? 0);
      if (acknowledged >= 64 * (round + 1)) {
        process.kill("SIGKILL");
        break;
      }
    }
    await process.stderr.cancel();
    await process.status;
    using cache = EmbeddingCache.open(folder.path, COLD);
    const report = cache.verify();
    assertTrue(isSound(report), JSON.stringify(report));
    using embedder = new DenseEmbedder();
    const words = textsOf(3000, `round ${round}`);
    const got = await cache.getOrEmbed(words.slice(0, acknowledged), embedder);
    assertEquals(got.misses, 0, "what was acknowledged is there");
  }
});

Deno.test("read-only: hits are answered, a miss is one clear error, nothing is written", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(["a"], embedder);
  }
  const before = [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
  {
    using cache = EmbeddingCache.open(folder.path, { readOnly: true });
    assertEquals((await cache.getOrEmbed(["a"], embedder)).diskHits, 1);
    const miss = await cache.getOrEmbed(["b"], embedder).catch((error) => error);
    assertEquals([miss.code, miss.message.includes("reading only")], ["read_only", true]);
    assertEquals(cache.stats().entries, 1);
  }
  const after = [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
  assertEquals(after.filter((name) => !/-(wal|shm)$/.test(name)), before);
});

platformTest("a read-only snapshot and a read-only mount can be read", async () => {
  await using disk = await btrfsScratch();
  await sh("btrfs", "subvolume", "create", `${disk.path}/@cache`);
  using embedder = new DenseEmbedder();
  const live = `${disk.path}/@cache`;
  const { matrix } = await (async () => {
    using cache = EmbeddingCache.open(live);
    const result = await cache.getOrEmbed(textsOf(50), embedder);
    // Taken while the write-ahead log holds the rows.
    await sh("btrfs", "subvolume", "snapshot", "-r", live, `${disk.path}/snap`);
    return result;
  })();
  for (const remount of [false, true]) {
    if (remount) await sh("mount", "-o", "remount,ro", disk.path);
    for (const path of [`${disk.path}/snap`, ...(remount ? [live] : [])]) {
      using cache = EmbeddingCache.open(path, { readOnly: true, ...COLD });
      assertEquals((await cache.getOrEmbed(textsOf(50), embedder)).matrix, matrix);
      assertEquals(cache.stats().entries, 50, path);
      assertTrue(isSound(cache.verify()));
    }
  }
  const error = assertThrows(() => EmbeddingCache.open(live), OpError);
  assertEquals(error.code, "read_only");
});

platformTest(
  "a disk that fills up in the middle of a batch: one error, all stays right",
  async () => {
    await using disk = await btrfsScratch(64, "", ["--mixed"]);
    using embedder = new DenseEmbedder(4096);
    const texts = textsOf(20_000);
    let stored = 0;
    {
      using cache = EmbeddingCache.open(disk.path, { codec: "f32", ...COLD });
      const error = await cache.getOrEmbed(texts, embedder, {
        progress: (done) => stored = done,
      }).catch((error) => error);
      assertTrue(error instanceof OpError, String(error));
      assertEquals(error.code, "no_space");
      assertEquals(error.message.split("\n").length, 1);
      assertTrue(stored > 0 && stored < texts.length, `${stored}`);
      const hits = await cache.getOrEmbed(texts.slice(0, stored), embedder);
      assertEquals(hits.misses, 0, "what was stored is there");
      const report = cache.verify();
      assertTrue(isSound(report));
      const names = [...Deno.readDirSync(`${disk.path}/vectors`)].map(({ name }) => name);
      assertEquals(names.filter((name) => name.startsWith(".tmp")), []);
      cache.clear();
    }
    using again = EmbeddingCache.open(disk.path, COLD);
    assertEquals((await again.getOrEmbed(texts.slice(0, 50), embedder)).misses, 50);
  },
);

Deno.test("on tmpfs it works as on a disk", async () => {
  const path = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "op-dbus-" });
  try {
    using embedder = new DenseEmbedder();
    using cache = EmbeddingCache.open(path, COLD);
    await cache.getOrEmbed(textsOf(100), embedder);
    assertEquals((await cache.getOrEmbed(textsOf(100), embedder)).diskHits, 100);
    assertTrue(isSound(cache.verify()));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
