/**
 * BERT's text clean-up, as `@huggingface/tokenizers` 0.2 does it, in whole-string steps.
 * The library goes character by character; the result is the same (a test compares them
 * on every code point and on a mixed corpus).
 */

/** `normalizer` of tokenizer.json, type BertNormalizer. */
export interface BertNormaliser {
  readonly cleanText: boolean;
  readonly handleChinese: boolean;
  readonly stripAccents: boolean | null;
  readonly lowercase: boolean;
}

/** Removed: controls, formats, private use, lone surrogates, U+FFFD. */
const REMOVED = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\uFFFD]/gu;
const WHITESPACE = /\s/g;
/** CJK ideographs of the basic plane: the library looks at UTF-16 units. */
const IDEOGRAPH = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/g;
const ACCENT = /\p{Mn}/gu;

/** Cleans a text up. */
export function normalise(text: string, settings: BertNormaliser): string {
  let out = text;
  if (settings.cleanText) out = out.replace(REMOVED, "").replace(WHITESPACE, " ");
  if (settings.handleChinese) out = out.replace(IDEOGRAPH, " $& ");
  if (settings.lowercase) out = out.toLowerCase();
  const strip = settings.lowercase
    ? settings.stripAccents !== false
    : settings.stripAccents === true;
  return strip ? out.normalize("NFD").replace(ACCENT, "") : out;
}

const PUNCTUATION = "\\p{P}\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E";
const WORDS = new RegExp(`[^\\s${PUNCTUATION}]+|[${PUNCTUATION}]`, "gu");

/** BertPreTokenizer: runs of other characters, and each punctuation mark alone. */
export function words(normalised: string): readonly string[] {
  return normalised.match(WORDS) ?? [];
}
