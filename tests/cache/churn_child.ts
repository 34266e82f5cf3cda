/**
 * Child of the campaigns. Arguments: mode, folder, seed, rounds, durability.
 * Prints a line before and after each step, so that a kill may hit any of them.
 */
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { LockedError } from "../../lib/base/errors.ts";
import { DenseEmbedder, denseVector, textsOf } from "./support.ts";

const [mode, folder, seed, rounds, durability = "full"] = Deno.args;
const DIMENSIONS = 48;
let state = Number(seed) * 2654435761 >>> 0;

function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor(state / 2 ** 32 * below);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

using cache = EmbeddingCache.open(folder!, {
  codec: "f32",
  durability: durability as "full" | "relaxed",
  arenaBytes: 0,
});
using embedder = new DenseEmbedder(DIMENSIONS);

/** Every vector must be what the model gives: f32 loses nothing. */
async function getAll(texts: string[]): Promise<number> {
  const { matrix, misses } = await cache.getOrEmbed(texts, embedder);
  texts.forEach((text, i) => {
    const right = denseVector(text, DIMENSIONS);
    for (let j = 0; j < DIMENSIONS; j++) {
      if (matrix[i * DIMENSIONS + j] !== right[j]) {
        throw new Error(`A wrong vector for ${text}`);
      }
    }
  });
  return misses;
}

function changing(what: string, change: () => unknown): void {
  say(what);
  try {
    change();
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
  }
}

async function churn(): Promise<void> {
  for (let round = 0; round < Number(rounds); round++) {
    const word = `w${seed}-${round}`;
    say(`putting ${word}`);
    const count = 1 + random(120);
    await getAll(textsOf(count, word));
    say(`put ${word} ${count}`);
    const next = random(10);
    if (next < 4) changing("compacting", () => cache.compact());
    else if (next < 5) changing("merging", () => cache.compact({ full: true }));
    else if (next < 6) changing("cleaning", () => cache.clean({ maxEntries: 150 }));
    else if (next < 7) changing("flushing", () => cache.flush());
  }
}

const WORDS = 40, PER_WORD = 50;
const modes: Record<string, () => Promise<void>> = {
  churn,
  async read() {
    for (let round = 0; round < Number(rounds); round++) {
      await getAll(textsOf(PER_WORD, `shared ${random(WORDS)}`));
    }
  },
  async write() {
    for (let round = 0; round < Number(rounds); round++) {
      await getAll(textsOf(PER_WORD, `shared ${random(WORDS)}`));
      if (random(8) === 0) {
        changing("cleaning", () => cache.clean({ maxEntries: 800 }));
      }
    }
  },
  compact() {
    for (let round = 0; round < Number(rounds); round++) {
      changing("compacting", () => cache.compact({ full: random(4) === 0 }));
    }
    return Promise.resolve();
  },
};
await modes[mode!]!();
say("end");
