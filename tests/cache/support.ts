/** Caches and embedders for the tests of this room. */
import { hash } from "node:crypto";
import type { EmbedOptions, EmbedResult } from "../../lib/embed/embedder.ts";
import type { Embedder, ModelIdentity } from "../../lib/embed/embedder.ts";

/**
 * Dense unit vectors, drawn from a generator that the text seeds: what a model's output
 * looks like to a codec, at no cost. Counts what it is asked for.
 */
export class DenseEmbedder implements Embedder {
  readonly identity: ModelIdentity;
  /** Every text that was computed, in order. */
  readonly seen: string[] = [];
  /** Called at the start of each batch. */
  before: (texts: readonly string[]) => Promise<void> = () => Promise.resolve();

  constructor(dimensions = 384, name = "dense") {
    this.identity = {
      name,
      digest: hash("sha256", name, "hex"),
      dimensions,
      pooling: "mean",
      normalisation: "l2",
      prefix: "",
      maxTokens: 256,
    };
  }

  async embed(texts: readonly string[], options?: EmbedOptions): Promise<EmbedResult> {
    await this.before(texts);
    options?.signal?.throwIfAborted();
    const d = this.identity.dimensions;
    const matrix = new Float32Array(texts.length * d);
    texts.forEach((text, i) => {
      this.seen.push(text);
      matrix.set(denseVector(text, d), i * d);
    });
    return { matrix, tokens: texts.length, truncated: 0 };
  }

  [Symbol.dispose](): void {}
}

/** The unit vector that {@link DenseEmbedder} gives a text. */
export function denseVector(text: string, dimensions: number): Float32Array {
  let state = 2166136261;
  for (let i = 0; i < text.length; i++) {
    state = Math.imul(state ^ text.charCodeAt(i), 16777619);
  }
  const next = () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const vector = new Float32Array(dimensions);
  let squares = 0;
  for (let i = 0; i < dimensions; i++) {
    vector[i] = next() + next() + next() + next() - 2; // near enough to normal
    squares += vector[i]! ** 2;
  }
  return vector.map((value) => value / Math.sqrt(squares));
}

/** `count` texts, all different. */
export function textsOf(count: number, word = "text"): string[] {
  return Array.from({ length: count }, (_, i) => `${word} number ${i}`);
}

/** Runs a script of this folder in a process of its own. */
export function child(script: string, ...args: string[]): Deno.ChildProcess {
  const path = new URL(script, import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", path, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for a {@link child} and returns what it printed; throws with its stderr. */
export async function outputOf(process: Deno.ChildProcess): Promise<string> {
  const { success, stdout, stderr } = await process.output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(decode(stderr));
  return decode(stdout);
}

/** Options of a cache whose answers come from the disk. */
export const COLD = { arenaBytes: 0 };

/** The names of the files in a cache's folder of vectors that match. */
export function files(folder: string, pattern: RegExp): string[] {
  return [...Deno.readDirSync(`${folder}/vectors`)].map(({ name }) => name)
    .filter((name) => pattern.test(name)).sort();
}

/** Changes two bits of one byte of a file. */
export function flip(path: string, at: number): void {
  const bytes = Deno.readFileSync(path);
  bytes[at]! ^= 0x41;
  Deno.writeFileSync(path, bytes);
}
