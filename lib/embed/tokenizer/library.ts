/** `@huggingface/tokenizers`, with the truncation that it lacks. */
import type { Tokenizer } from "@huggingface/tokenizers";
import { InputError } from "../../base/errors.ts";
import type { TokenizerConfig, TokenizerDefinition } from "./definition.ts";
import { checkPatterns } from "./patterns.ts";
import type { Encoded } from "./tokenizer.ts";

/** The library, imported by whoever needs it: it costs a few milliseconds. */
export type Library = typeof import("@huggingface/tokenizers");

/** A text that every tokenizer gives at least one token for. */
const PROBE = "a";

/** Any tokenizer that the library can run. */
export class LibraryTokenizer {
  readonly #tokenizer: Tokenizer;
  /** Special tokens before and after every text. */
  readonly #before: number;
  readonly #after: number;

  private constructor(tokenizer: Tokenizer, before: number, after: number) {
    this.#tokenizer = tokenizer;
    this.#before = before;
    this.#after = after;
  }

  /**
   * @param library the loaded module
   * @param path for messages
   * @throws {InputError} for a kind that the library does not know, or a regular
   *   expression that could take for ever
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
    try {
      checkPatterns(library, definition, path);
      tokenizer = new library.Tokenizer(whole, config);
      framed = tokenizer.encode(PROBE).ids;
      bare = tokenizer.encode(PROBE, { add_special_tokens: false }).ids;
    } catch (error) {
      if (error instanceof InputError) throw error;
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
    return new LibraryTokenizer(tokenizer, before, framed.length - before - bare.length);
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

  /** See {@link TextTokenizer.encode}. */
  encode(text: string, limit: number): Encoded {
    const { ids, token_type_ids } = this.#tokenizer.encode(text, {
      return_token_type_ids: true,
    });
    const truncated = limit > 0 && ids.length > limit;
    return {
      ids: truncated ? this.#cut(ids, limit) : Int32Array.from(ids),
      types: types(token_type_ids, (all) => truncated ? this.#cut(all, limit) : all),
      truncated,
    };
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
