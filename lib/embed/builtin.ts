/**
 * The embedder that needs no download: feature hashing of words, word pairs and character
 * n-grams. It is lexical: texts that share words or spellings come out near each other;
 * it knows nothing of meaning.
 *
 * Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009),
 * for the signed hashing trick.
 */
import { hash } from "node:crypto";
import type { Embedder, EmbedOptions, EmbedResult, ModelIdentity } from "./embedder.ts";

const DIMENSIONS = 384;
/** Words that are read of one text; the rest is cut. */
const MAX_WORDS = 8192;
/** Longer runs of letters (CJK, base64) are read as pieces of this many UTF-16 units. */
const MAX_WORD_UNITS = 64;
const NGRAM_MIN = 3, NGRAM_MAX = 5;
const WORD_WEIGHT = 1, PAIR_WEIGHT = 0.6, NGRAM_WEIGHT = 0.35;
/** Words this short are mostly grammar (`the`, `of`), so they count for less. */
const SHORT_WORD_UNITS = 3, SHORT_WORD_FACTOR = 0.5;
/** Texts embedded between two turns of the event loop, where signals and timers run. */
const TURN = 512;

/** All that decides a vector; change the version with any of it. */
const SETTINGS = JSON.stringify({
  algorithm: "op-dbus builtin-hash",
  version: 1,
  DIMENSIONS,
  MAX_WORDS,
  MAX_WORD_UNITS,
  NGRAM_MIN,
  NGRAM_MAX,
  WORD_WEIGHT,
  PAIR_WEIGHT,
  NGRAM_WEIGHT,
  SHORT_WORD_UNITS,
  SHORT_WORD_FACTOR,
  normalise: "NFKC, lower case",
  hash: "fnv1a-32 with murmur3 finaliser",
  weights: "square root of the count",
});

/** Distinguishes the kinds of feature, so that the word `the` is not the n-gram `the`. */
const SEED = { word: 0x811c9dc5, pair: 0x9e3779b9, ngram: 0x85ebca6b, whole: 0xc2b2ae35 };

/** What the builtin embedder is to the cache. */
export const BUILTIN_IDENTITY: ModelIdentity = {
  name: "builtin-hash-v1",
  digest: hash("sha256", SETTINGS, "hex"),
  dimensions: DIMENSIONS,
  pooling: "none",
  normalisation: "l2",
  prefix: "",
  maxTokens: MAX_WORDS,
};

/** The builtin lexical embedder. Deterministic on every machine. */
export class BuiltinEmbedder implements Embedder {
  readonly identity = BUILTIN_IDENTITY;

  async embed(
    texts: readonly string[],
    options: EmbedOptions = {},
  ): Promise<EmbedResult> {
    const matrix = new Float32Array(texts.length * DIMENSIONS);
    let tokens = 0, truncated = 0;
    for (let i = 0; i < texts.length; i++) {
      if (i > 0 && i % TURN === 0) await new Promise((resolve) => setTimeout(resolve));
      options.signal?.throwIfAborted();
      const at = i * DIMENSIONS;
      const read = embedOne(texts[i]!, matrix.subarray(at, at + DIMENSIONS));
      tokens += read.words;
      if (read.cut) truncated++;
    }
    return { matrix, tokens, truncated };
  }

  [Symbol.dispose](): void {}
}

function embedOne(text: string, into: Float32Array): { words: number; cut: boolean } {
  const { words, cut } = wordsOf(text.normalize("NFKC").toLowerCase());
  const counts = new Map<number, number>();
  const weights = new Map<number, number>();
  const add = (feature: number, weight: number) => {
    const seen = counts.get(feature);
    counts.set(feature, (seen ?? 0) + 1);
    if (seen === undefined) weights.set(feature, weight);
  };
  let previous = 0;
  words.forEach((word, i) => {
    const own = hashUnits(word, 0, word.length, SEED.word);
    const factor = word.length <= SHORT_WORD_UNITS ? SHORT_WORD_FACTOR : 1;
    add(own, WORD_WEIGHT * factor);
    if (i > 0) add(finalise(Math.imul(previous, 31) ^ own ^ SEED.pair), PAIR_WEIGHT);
    previous = own;
    addNgrams(word, factor, add);
  });
  // Punctuation or nothing at all: one feature, so that every text has a direction.
  if (counts.size === 0) add(hashUnits(text, 0, text.length, SEED.whole), 1);
  project(counts, weights, into);
  return { words: words.length, cut };
}

function wordsOf(text: string): { words: string[]; cut: boolean } {
  const words: string[] = [];
  for (const [run] of text.matchAll(/[\p{L}\p{N}\p{M}_]+/gu)) {
    for (let at = 0; at < run.length; at += MAX_WORD_UNITS) {
      if (words.length === MAX_WORDS) return { words, cut: true };
      words.push(run.slice(at, at + MAX_WORD_UNITS));
    }
  }
  return { words, cut: false };
}

function addNgrams(
  word: string,
  factor: number,
  add: (feature: number, weight: number) => void,
): void {
  const padded = `^${word}$`;
  for (let n = NGRAM_MIN; n <= NGRAM_MAX; n++) {
    for (let at = 0; at + n <= padded.length; at++) {
      add(hashUnits(padded, at, at + n, SEED.ngram), NGRAM_WEIGHT * factor);
    }
  }
}

function project(
  counts: ReadonlyMap<number, number>,
  weights: ReadonlyMap<number, number>,
  into: Float32Array,
): void {
  const sums = new Float64Array(DIMENSIONS);
  for (const [feature, count] of counts) {
    const place = (feature >>> 1) % DIMENSIONS;
    // The square root, not 1 + log: IEEE 754 defines it to the last bit, so the vectors
    // are the same on every machine.
    const value = weights.get(feature)! * Math.sqrt(count);
    sums[place]! += feature & 1 ? value : -value;
  }
  let squares = 0;
  for (const value of sums) squares += value * value;
  if (squares === 0) { // opposite features met in one place: keep a direction
    const [feature] = counts.keys();
    into[(feature! >>> 1) % DIMENSIONS] = 1;
    return;
  }
  const norm = Math.sqrt(squares);
  for (let i = 0; i < DIMENSIONS; i++) into[i] = sums[i]! / norm;
}

/** FNV-1a over UTF-16 units, then mixed so that the low bits are good. */
function hashUnits(text: string, from: number, to: number, seed: number): number {
  let h = seed;
  for (let i = from; i < to; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return finalise(h);
}

/** MurmurHash3's 32-bit finaliser. */
function finalise(value: number): number {
  let h = value ^ (value >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
