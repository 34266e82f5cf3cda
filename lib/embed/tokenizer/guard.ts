/**
 * Bounds on what `@huggingface/tokenizers` does with a text, put around a tokenizer that
 * was made. {@link checkLimits} bounds each step; here is what they do together.
 */
import type { Tokenizer } from "@huggingface/tokenizers";

/**
 * What clean-up and splitting may make of a text: Unicode's largest expansion is 18 (NFKC),
 * and each of those may be three bytes.
 */
const MAX_GROWTH = 60;
/** A short text may grow to this, in UTF-16 units. */
const FREE_LENGTH = 10_000;

/** A text that grew too much. */
export class GrowthError extends Error {}

/** The steps as the library holds them; `Sequence` holds others. */
interface Normalizer {
  normalize(text: string): string;
  readonly normalizers?: readonly (Normalizer | null)[];
}
interface PreTokenizer {
  pre_tokenize(text: string | string[], options?: unknown): string[];
  readonly tokenizers?: readonly (PreTokenizer | null)[];
}

/**
 * Puts the bounds around a tokenizer.
 *
 * @returns call it before each text, with its length; encode() then throws a
 *   {@link GrowthError} where the text grows too much on the way
 */
export function guard(tokenizer: Tokenizer): (length: number) => void {
  let before = 0;
  const check = (after: number) => {
    if (after <= Math.max(FREE_LENGTH, MAX_GROWTH * before)) return;
    throw new GrowthError(`it makes ${after} characters of ${before}`);
  };
  guardNormalizer(tokenizer.normalizer as Normalizer | null, check);
  guardPreTokenizer(tokenizer.pre_tokenizer as unknown as PreTokenizer | null, check);
  fuseOnce(tokenizer);
  return (length) => void (before = length);
}

function guardNormalizer(
  step: Normalizer | null,
  check: (length: number) => void,
): void {
  if (!step) return;
  if (step.normalizers) {
    for (const inner of step.normalizers) guardNormalizer(inner, check);
    return;
  }
  const normalize = step.normalize.bind(step);
  step.normalize = (text) => {
    const out = normalize(text);
    check(out.length);
    return out;
  };
}

function guardPreTokenizer(
  step: PreTokenizer | null,
  check: (length: number) => void,
): void {
  if (!step) return;
  if (step.tokenizers) {
    for (const inner of step.tokenizers) guardPreTokenizer(inner, check);
    return;
  }
  const split = step.pre_tokenize.bind(step);
  step.pre_tokenize = (text, options) => {
    const out = split(text, options);
    check(out.reduce((sum, { length }) => sum + length, 0));
    return out;
  };
}

/**
 * Where unknown pieces in a row are one token the library joins their texts, one by one,
 * and looks each up: a word of 100,000 unknown characters took 38 seconds. The joined text
 * is in no vocabulary, so the first piece stands for all of them.
 */
function fuseOnce({ model }: Tokenizer): void {
  if (!model?.fuse_unk) return;
  const { tokens_to_ids: ids, unk_token_id: unknown } = model;
  const encode = model.encode.bind(model);
  model.fuse_unk = false;
  model.encode = (words) => {
    let inRow = false;
    return encode(words).filter((piece) => {
      const isUnknown = (ids.get(piece) ?? unknown) === unknown;
      const kept = !(isUnknown && inRow);
      inRow = isUnknown;
      return kept;
    });
  };
}
