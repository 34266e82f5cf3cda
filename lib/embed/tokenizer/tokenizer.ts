/** What turns a text into the numbers a model reads. */

/** One text as token ids, with the special tokens that the model wants around it. */
export interface Encoded {
  readonly ids: Int32Array;
  /** Sentence kinds (token_type_ids); null where all are 0. */
  readonly types: Int32Array | null;
  /** True when the text was longer than the limit and was cut. */
  readonly truncated: boolean;
}

/** A tokenizer of one model. */
export interface TextTokenizer {
  /** Which code does the work: our own WordPiece, or `@huggingface/tokenizers`. */
  readonly kind: "wordpiece" | "library";
  /** The id that fills a batch's shorter rows. Masked, so the model does not see it. */
  readonly padId: number;
  /** The largest id it can give: the model's embedding table must be longer. */
  readonly largestId: number;
  /**
   * Cuts a text at `limit` tokens as the model's own library does: the special tokens
   * stay, the text's tail goes.
   *
   * @param limit tokens, special ones included; 0 means no limit
   */
  encode(text: string, limit: number): Encoded;
}

/** Files larger than this are no tokenizer. The largest published ones have 35 MB. */
export const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024;
