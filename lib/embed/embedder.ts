/** What every embedder offers: the builtin hashing one, ONNX models, an upstream server. */

/**
 * Everything that decides what vector a text gets, but the text. All of it goes into the
 * cache key, so that no model ever answers with another one's vector.
 */
export interface ModelIdentity {
  /** Name for people: `builtin-hash-v1`, `all-minilm-l6-v2`. Not part of the key. */
  readonly name: string;
  /** SHA-256 (lowercase hex) over the model's weights, tokenizer and settings. */
  readonly digest: string;
  readonly dimensions: number;
  readonly pooling: "mean" | "cls" | "max" | "none";
  readonly normalisation: "l2" | "none";
  /** Put before every text, e.g. E5's `query: `; empty for none. */
  readonly prefix: string;
  /** Longer texts are cut there; 0 means no limit. */
  readonly maxTokens: number;
}

/** The vectors of one batch. */
export interface EmbedResult {
  /** Row-major, texts.length × dimensions, in the order of the texts. */
  readonly matrix: Float32Array<ArrayBuffer>;
  /** Tokens that the model read, padding not counted. */
  readonly tokens: number;
  /** How many texts were longer than the model's limit and were cut. */
  readonly truncated: number;
}

/** Options of one call. */
export interface EmbedOptions {
  /** Ends the work early; the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Turns texts into vectors. Deterministic: the same text gives the same vector. */
export interface Embedder extends Disposable {
  readonly identity: ModelIdentity;
  /**
   * @param texts any number, also none
   * @throws {OpError} when the model cannot run
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<EmbedResult>;
}
