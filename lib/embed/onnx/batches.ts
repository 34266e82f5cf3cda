/**
 * How texts become batches. Texts of like length go together, because a batch costs its
 * longest text times its number of texts; small batches, because large ones leave the
 * CPU's caches.
 */
import type { Encoded, TextTokenizer } from "../tokenizer/tokenizer.ts";

/** Texts tokenised and sorted at a time: memory is bounded, sorting is still good. */
const WINDOW_TEXTS = 1024;
/** Texts of a batch unless told otherwise. Measured: 8 to 16 are best, 64 is worse. */
export const DEFAULT_BATCH_TEXTS = 16;
/** Tokens of a batch at most, padding included: bounds the memory of one run. */
const MAX_BATCH_TOKENS = 2048;
/** A text is added to a batch only when padding it adds less than this share. */
const MAX_PADDING = 0.25;

/** One batch, ready to run. */
export interface Batch {
  /** For each row, the index of its text. */
  readonly texts: readonly number[];
  readonly encoded: readonly Encoded[];
  /** Tokens of the longest text. */
  readonly columns: number;
}

/** What makes batches. */
export interface BatchPlan {
  readonly tokenizer: TextTokenizer;
  readonly prefix: string;
  /** 0 for none. */
  readonly maxTokens: number;
  /** Texts of a batch at most. */
  readonly batchTexts: number;
}

/**
 * Tokenises and groups, a window at a time, as batches are asked for: while one runs on
 * other threads, the next window is tokenised on this one.
 */
export function* batches(texts: readonly string[], plan: BatchPlan): Generator<Batch> {
  for (let start = 0; start < texts.length; start += WINDOW_TEXTS) {
    const end = Math.min(texts.length, start + WINDOW_TEXTS);
    const encoded: Encoded[] = [];
    for (let i = start; i < end; i++) {
      encoded.push(encode(plan, texts[i]!));
    }
    // Longest first: the run that needs the most memory comes first, not last.
    const order = encoded.map((_, i) => i).sort((a, b) =>
      encoded[b]!.ids.length - encoded[a]!.ids.length || a - b
    );
    yield* group(order, encoded, start, plan.batchTexts);
  }
}

/** Where nothing is left of a text, and nothing is put around it, the model reads padding. */
function encode({ tokenizer, prefix, maxTokens }: BatchPlan, text: string): Encoded {
  const encoded = tokenizer.encode(prefix + text, maxTokens);
  if (encoded.ids.length > 0) return encoded;
  return { ...encoded, ids: Int32Array.of(tokenizer.padId), types: null };
}

function* group(
  order: readonly number[],
  encoded: readonly Encoded[],
  start: number,
  maxTexts: number,
): Generator<Batch> {
  for (let at = 0; at < order.length;) {
    const columns = encoded[order[at]!]!.ids.length;
    const most = Math.min(maxTexts, Math.max(1, Math.floor(MAX_BATCH_TOKENS / columns)));
    let end = at + 1;
    while (end < order.length && end - at < most) {
      const length = encoded[order[end]!]!.ids.length;
      if (length < columns * (1 - MAX_PADDING)) break;
      end++;
    }
    const members = order.slice(at, end);
    yield {
      texts: members.map((i) => start + i),
      encoded: members.map((i) => encoded[i]!),
      columns,
    };
    at = end;
  }
}

/** The tensors of a batch, row-major, padded to its longest text. */
export function feedsOf(
  batch: Batch,
  padId: number,
  names: readonly string[],
): Map<string, BigInt64Array<ArrayBuffer>> {
  const count = batch.encoded.length * batch.columns;
  const ids = new BigInt64Array(count), mask = new BigInt64Array(count);
  const types = new BigInt64Array(count);
  const pad = BigInt(padId);
  batch.encoded.forEach((encoded, row) => {
    const at = row * batch.columns;
    const length = encoded.ids.length;
    for (let i = 0; i < length; i++) {
      ids[at + i] = BigInt(encoded.ids[i]!);
      mask[at + i] = 1n;
      if (encoded.types) types[at + i] = BigInt(encoded.types[i]!);
    }
    ids.fill(pad, at + length, at + batch.columns);
  });
  const all = new Map([
    ["input_ids", ids],
    ["attention_mask", mask],
    ["token_type_ids", types],
  ]);
  for (const name of all.keys()) if (!names.includes(name)) all.delete(name);
  return all;
}
