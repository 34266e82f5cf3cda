/**
 * Long runs of crashes and crowds. A few rounds by default; OPDBUS_CACHE_ROUNDS sets how
 * many (the figures in CHANGELOG.md are of 300).
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { isSound } from "../../lib/cache/verify.ts";
import { child, DenseEmbedder, denseVector, outputOf, textsOf } from "./support.ts";

const ROUNDS = Number(Deno.env.get("OPDBUS_CACHE_ROUNDS") ?? 8);
/** Another seed, another campaign. */
const SEED = Number(Deno.env.get("OPDBUS_CACHE_SEED") ?? 0);
const POWER_CUTS = Math.ceil(ROUNDS / 2);
const DIMENSIONS = 48;

/** A churning child's lines, as they come. */
class Lines {
  /** All so far. */
  readonly seen: string[] = [];
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(process: Deno.ChildProcess) {
    this.#reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Waits until there are so many. */
  async until(count: number): Promise<void> {
    while (this.seen.length < count) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      const parts = (this.#rest + value).split("\n");
      this.#rest = parts.pop()!;
      this.seen.push(...parts);
    }
  }

  /** The child dies when it next says something: it does nothing unannounced. */
  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

/** The texts that the child had in its hands, and that nothing removed since. */
function acknowledged(lines: readonly string[]): string[] {
  const texts: string[] = [];
  for (const line of lines) {
    if (line === "cleaning") texts.length = 0;
    const [, word, count] = /^put (\S+) (\d+)$/.exec(line) ?? [];
    if (word) texts.push(...textsOf(Number(count), word));
  }
  return texts;
}

/** Opens what a crash left: nothing wrong, nothing acknowledged lost where it must not. */
async function inspect(
  folder: string,
  texts: readonly string[],
  mayLose: boolean,
  kept: readonly string[] = [],
): Promise<void> {
  using cache = EmbeddingCache.open(folder, { codec: "f32", arenaBytes: 0 });
  using embedder = new DenseEmbedder(DIMENSIONS);
  const report = cache.verify();
  if (!mayLose) assertTrue(isSound(report), JSON.stringify(report));
  const { misses: lost } = await cache.getOrEmbed(kept, embedder);
  assertEquals(lost, 0, "a vector was lost that was no matter of the last seconds");
  const { matrix, misses } = await cache.getOrEmbed(texts, embedder);
  if (!mayLose) assertEquals(misses, 0, "an acknowledged vector was lost");
  texts.forEach((text, i) => {
    const row = matrix.subarray(i * DIMENSIONS, (i + 1) * DIMENSIONS);
    assertEquals(row.slice(), denseVector(text, DIMENSIONS), text);
  });
  cache.verify({ repair: true });
  assertTrue(isSound(cache.verify()), "after healing");
}

Deno.test(`kill -9 at any moment of put, compact, merge and clean, ${ROUNDS} rounds`, async () => {
  await using folder = await tempFolder();
  for (let round = SEED; round < SEED + ROUNDS; round++) {
    const process = child("churn_child.ts", "churn", folder.path, String(round), "1000");
    const lines = new Lines(process);
    await lines.until(2 + (round * 7) % 23);
    await lines.close();
    process.kill("SIGKILL");
    await process.stderr.cancel();
    await process.status;
    await inspect(folder.path, acknowledged(lines.seen), false);
  }
});

/**
 * A copy of the image as it is on the disk at some moment, with nothing flushed for it.
 * With durability relaxed a sync comes before, in place of the one that the kernel makes
 * every few seconds: what was acknowledged by then must be there.
 */
async function powerCut(durability: string, seed: number): Promise<void> {
  const disk = await btrfsScratch(200);
  const copy = `${disk.image}.cut`;
  let kept: string[] = [];
  try {
    const process = child(
      "churn_child.ts",
      "churn",
      disk.path,
      String(seed),
      "1000",
      durability,
    );
    const lines = new Lines(process);
    if (durability === "relaxed") {
      await lines.until(2 + (seed * 3) % 7);
      kept = acknowledged(lines.seen);
      await sh("sync", "-f", disk.path);
    }
    const synced = lines.seen.length;
    await lines.until(synced + 3 + (seed * 5) % 17);
    if (lines.seen.indexOf("cleaning", synced) >= 0) kept = [];
    await lines.close();
    process.kill("SIGSTOP");
    await Deno.copyFile(disk.image, copy);
    process.kill("SIGKILL");
    await process.stderr.cancel();
    await process.status;
    // Two file systems of one UUID cannot be mounted at once.
    await sh("umount", disk.path);
    await sh("mount", "-o", "loop", copy, disk.path);
    const texts = acknowledged(lines.seen);
    await inspect(disk.path, texts, durability === "relaxed", kept);
  } finally {
    await disk[Symbol.asyncDispose]();
  }
}

platformTest(
  `power cut with durability full, ${POWER_CUTS} rounds: nothing lost or wrong`,
  async () => {
    for (let i = 0; i < POWER_CUTS; i++) await powerCut("full", SEED + i);
  },
);

platformTest(
  `power cut with durability relaxed, ${POWER_CUTS} rounds: nothing wrong, and lost only what came after the last sync`,
  async () => {
    for (let i = 0; i < POWER_CUTS; i++) await powerCut("relaxed", SEED + i);
  },
);

Deno.test("eight processes read, two write and clean, one compacts: every vector right", async () => {
  await using folder = await tempFolder();
  EmbeddingCache.open(folder.path).close();
  const rounds = String(10 * ROUNDS);
  const modes = [...Array(8).fill("read"), "write", "write", "compact"];
  const children = modes.map((mode, i) =>
    child("churn_child.ts", mode, folder.path, String(i + 1), rounds, "relaxed")
  );
  for (const output of await Promise.all(children.map(outputOf))) {
    assertTrue(output.endsWith("end\n"), output);
  }
  using cache = EmbeddingCache.open(folder.path, { codec: "f32", arenaBytes: 0 });
  const report = cache.verify();
  assertTrue(isSound(report), JSON.stringify(report));
});
