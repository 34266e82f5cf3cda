/** `@huggingface/tokenizers`, with the truncation that it lacks. */
import type { Tokenizer } from "@huggingface/tokenizers";
import { InputError } from "../../base/errors.ts";
import type { TokenizerConfig, TokenizerDefinition } from "./definition.ts";
import { GrowthError, guard } from "./guard.ts";
import { checkPatterns, refused } from "./patterns.ts";
import type { Encoded } from "./tokenizer.ts";

/** The library, imported by whoever needs it: it costs a few milliseconds. */
export type Library = typeof import("@huggingface/tokenizers");

/** A text that every tokenizer gives at least one token for. */
const PROBE = "a";

/** Special tokens around a text at most; known tokenizers have up to five. */
const MAX_AROUND = 100;

/** First part of a long text to look at, in UTF-16 units per token of the limit. */
const UNITS_PER_TOKEN = 8;
/**
 * So many tokens more than the limit must come from a part of a text, for the end of the
 * part to be far from the tokens that are kept.
 */
const MARGIN_TOKENS = 64;
/**
 * The longest part that is looked at. A text whose start of this length is fewer tokens
 * than the limit is cut there: the library needs hundreds of bytes per unit, and fails
 * where one word is more than 120,000 tokens.
 */
const MAX_PART_LENGTH = 100_000;

/** Any tokenizer that the library can run. */
export class LibraryTokenizer {
  readonly #tokenizer: Tokenizer;
  /** Special tokens before and after every text. */
  readonly #before: number;
  readonly #after: number;
  readonly #expect: (length: number) => void;
  readonly #path: string;

  private constructor(
    parts: {
      readonly tokenizer: Tokenizer;
      readonly before: number;
      readonly after: number;
      readonly expect: (length: number) => void;
      readonly path: string;
    },
  ) {
    this.#tokenizer = parts.tokenizer;
    this.#before = parts.before;
    this.#after = parts.after;
    this.#expect = parts.expect;
    this.#path = parts.path;
  }

  /**
   * @param library the loaded module
   * @param path for messages
   * @throws {InputError} for a kind that the library does not know, or what could take
   *   for ever or make much out of a short text
   */
  static make(
    library: Library,
    definition: TokenizerDefinition,
    config: TokenizerConfig,
    path: string,
  ): LibraryTokenizer {
    // The library wants every section to be there, if only as null. Nothing here decodes.
    const whole = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      ...definition,
      decoder: null,
    };
    let tokenizer: Tokenizer, framed: number[], bare: number[];
    let expect: (length: number) => void;
    try {
      checkPatterns(library, definition, path);
      // Only decoding asks for these, and making a list of them takes their square.
      const rest = { ...config, additional_special_tokens: [] };
      tokenizer = new library.Tokenizer(whole, rest);
      expect = guard(tokenizer);
      expect(PROBE.length);
      framed = tokenizer.encode(PROBE).ids;
      bare = tokenizer.encode(PROBE, { add_special_tokens: false }).ids;
    } catch (error) {
      if (error instanceof InputError) throw error;
      if (error instanceof GrowthError) throw refused(path, error.message);
      throw new InputError(
        "unsupported_tokenizer",
        `Cannot use the tokenizer ${path}: ${(error as Error).message}`,
        {
          cause: error,
          hint: "choose a model with a WordPiece, BPE or Unigram tokenizer",
        },
      );
    }
    const before = indexOfRun(framed, bare);
    if (bare.length === 0 || before < 0) {
      throw new InputError(
        "unsupported_tokenizer",
        `Cannot use the tokenizer ${path}: it does not put special tokens around a text`,
      );
    }
    const around = framed.length - bare.length;
    if (around > MAX_AROUND) {
      throw refused(path, `it puts ${around} special tokens around a text`);
    }
    return new LibraryTokenizer({
      tokenizer,
      before,
      after: around - before,
      expect,
      path,
    });
  }

  /** The id of a token, where the vocabulary has it. */
  idOf(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token);
  }

  /** The largest id of the vocabulary, added tokens included. */
  get largestId(): number {
    let largest = 0;
    for (const id of this.#tokenizer.get_vocab().values()) {
      largest = Math.max(largest, id);
    }
    return largest;
  }

  /**
   * See {@link TextTokenizer.encode}. A long text is looked at from its start in growing
   * parts: what is far behind the limit changes nothing before it.
   *
   * @throws {InputError} when the text grows too much in clean-up
   */
  encode(text: string, limit: number): Encoded {
    if (limit === 0) return this.#encodePart(text, 0, false);
    const enough = limit + MARGIN_TOKENS;
    const most = Math.max(MAX_PART_LENGTH, enough * UNITS_PER_TOKEN);
    for (let length = enough * UNITS_PER_TOKEN;; length *= 2) {
      const part = startOf(text, Math.min(length, most));
      const encoded = this.#encodePart(part, limit, part.length < text.length);
      const whole = part.length === text.length || length >= most;
      if (whole || encoded.all - this.#before - this.#after >= enough) return encoded;
    }
  }

  /** @param isCut the text goes on after this part */
  #encodePart(
    part: string,
    limit: number,
    isCut: boolean,
  ): Encoded & { readonly all: number } {
    const { ids, token_type_ids } = this.#ask(part);
    const over = limit > 0 && ids.length > limit;
    return {
      ids: over ? this.#cut(ids, limit) : Int32Array.from(ids),
      types: types(token_type_ids, (all) => over ? this.#cut(all, limit) : all),
      truncated: over || isCut,
      all: ids.length,
    };
  }

  #ask(part: string): { ids: number[]; token_type_ids?: number[] } {
    this.#expect(part.length);
    try {
      return this.#tokenizer.encode(part, { return_token_type_ids: true });
    } catch (error) {
      if (error instanceof GrowthError) throw refused(this.#path, error.message);
      throw error;
    }
  }

  /** Keeps the start and the special tokens at the end. */
  #cut(values: readonly number[], limit: number): Int32Array {
    const tail = this.#after === 0 ? [] : values.slice(-this.#after);
    const head = Math.max(this.#before, limit - this.#after);
    return Int32Array.from([...values.slice(0, head), ...tail]);
  }
}

function types(
  all: readonly number[] | undefined,
  cut: (all: readonly number[]) => Iterable<number>,
): Int32Array | null {
  if (!all?.some((type) => type !== 0)) return null;
  return Int32Array.from(cut(all));
}

function indexOfRun(values: readonly number[], run: readonly number[]): number {
  for (let at = 0; at + run.length <= values.length; at++) {
    if (run.every((value, i) => values[at + i] === value)) return at;
  }
  return -1;
}

/** The start of a text, to a space where one is near; never half a surrogate pair. */
function startOf(text: string, length: number): string {
  if (text.length <= length) return text;
  const space = text.lastIndexOf(" ", length);
  if (space > length / 2) return text.slice(0, space);
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}
