/**
 * Dies at each system call that changes the disk, one after the other: strace kills the
 * process on entry to the Nth one. A random kill seldom hits the few that matter.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { isSound } from "../../lib/cache/verify.ts";
import { DenseEmbedder, denseVector, textsOf } from "./support.ts";

const CALLS = ["renameat2", "unlinkat", "fsync", "syncfs", "pwrite64"];
/** Every how many-th call is tried; 1 tries all (some minutes). */
const STRIDE = Number(Deno.env.get("OPDBUS_CACHE_STRIDE") ?? 6);
const CALLS_LIMIT = 400;
const CHILD = new URL("steps_child.ts", import.meta.url).pathname;

function hasStrace(): boolean {
  try {
    return new Deno.Command("strace", { args: ["-V"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** Runs the child and kills it at the Nth call; null when it got to its end. */
async function dieAt(folder: string, call: string, n: number): Promise<string[] | null> {
  const { stdout } = await new Deno.Command("strace", {
    args: [
      ...["-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`],
      ...["-e", `inject=${call}:signal=KILL:when=${n}`],
      ...[Deno.execPath(), "run", "-A", "--quiet", "--no-check", CHILD, folder],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  return lines.includes("end") ? null : lines;
}

Deno.test({
  name: "killed at each system call that changes the disk, nothing is lost or wrong",
  ignore: !hasStrace(),
  async fn() {
    let deaths = 0;
    for (const call of CALLS) {
      for (let n = 1 + (deaths % STRIDE); n < CALLS_LIMIT; n += STRIDE) {
        await using folder = await tempFolder();
        const lines = await dieAt(folder.path, call, n);
        if (lines === null) break;
        deaths++;
        await inspect(folder.path, lines, `${call} ${n}`);
      }
    }
    assertTrue(deaths > CALLS.length, `${deaths} deaths`);
  },
});

async function inspect(folder: string, lines: string[], when: string): Promise<void> {
  using cache = EmbeddingCache.open(folder, { codec: "f32", arenaBytes: 0 });
  using embedder = new DenseEmbedder(48);
  const report = cache.verify();
  assertTrue(isSound(report), `${when}: ${JSON.stringify(report)}`);
  if (!lines.includes("cleaning")) {
    for (const line of lines) {
      const [, word] = /^put (\w) 4$/.exec(line) ?? [];
      if (!word) continue;
      const { matrix, misses } = await cache.getOrEmbed(textsOf(4, word), embedder);
      assertEquals(misses, 0, `${when}: lost ${word}`);
      assertEquals(matrix.slice(0, 48), denseVector(`${word} number 0`, 48), when);
    }
  }
  cache.compact({ full: true });
  assertTrue(isSound(cache.verify()), `${when}, compacted`);
}
