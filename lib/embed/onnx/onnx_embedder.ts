/** An ONNX sentence model as an {@link Embedder}. */
import type { Embedder, EmbedOptions, EmbedResult, ModelIdentity } from "../embedder.ts";
import type { TextTokenizer } from "../tokenizer/tokenizer.ts";
import { type Batch, batches, feedsOf } from "./batches.ts";
import type { EngineSession } from "./engine.ts";
import { pool } from "./pooling.ts";

/** From this many texts on it pays to open the model a second way. */
const MANY_TEXTS = 128;

/**
 * Runs of a single text are over in two milliseconds. With this many under way for each that
 * the session asks for, the next one lies there when a thread of it has made the last
 * (RUNS_AHEAD of native.ts); larger batches gain nothing by it.
 */
const SHORT_RUNS = 2;
/** Runs under way at most. */
const MAX_RUNS = 32;

/** What an embedder is made of. The embedder closes the session. */
export interface OnnxParts {
  readonly identity: ModelIdentity;
  readonly session: EngineSession;
  readonly tokenizer: TextTokenizer;
  /** Names of the model's inputs. */
  readonly inputs: readonly string[];
  /** Texts per run at most; 1 where a vector would depend on the texts beside it. */
  readonly batchTexts: number;
  /** Better devices that could not be used, one line each. */
  readonly passedOver: readonly string[];
}

/** Turns texts into vectors with a neural model. */
export class OnnxEmbedder implements Embedder {
  readonly identity: ModelIdentity;
  readonly session: EngineSession;
  readonly tokenizer: TextTokenizer;
  /** See {@link OnnxParts.passedOver}. */
  readonly passedOver: readonly string[];
  readonly #parts: OnnxParts;

  constructor(parts: OnnxParts) {
    this.identity = parts.identity;
    this.session = parts.session;
    this.tokenizer = parts.tokenizer;
    this.passedOver = parts.passedOver;
    this.#parts = parts;
  }

  /**
   * Memory is bounded by the result's matrix, one window of tokens and the batches under
   * way, however many texts there are.
   */
  async embed(
    texts: readonly string[],
    options: EmbedOptions = {},
  ): Promise<EmbedResult> {
    const { identity } = this;
    const { signal } = options;
    signal?.throwIfAborted();
    const many = texts.length >= MANY_TEXTS ? this.session.many?.() : undefined;
    const session = await many ?? this.session;
    const matrix = new Float32Array(texts.length * identity.dimensions);
    const queue = batches(texts, {
      tokenizer: this.tokenizer,
      prefix: identity.prefix,
      maxTokens: identity.maxTokens,
      batchTexts: this.#parts.batchTexts,
    });
    let tokens = 0, truncated = 0;
    // The first failure stops the other workers' runs as well.
    const stop = new AbortController();
    const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const work = async () => {
      try {
        for (const batch of queue) {
          await this.#run(session, batch, matrix, either);
          for (const { ids, truncated: cut } of batch.encoded) {
            tokens += ids.length;
            if (cut) truncated++;
          }
        }
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    };
    const workers = Math.min(this.#runsOf(session), Math.max(1, texts.length));
    const results = await Promise.allSettled(Array.from({ length: workers }, work));
    signal?.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
    for (const result of results) if (result.status === "rejected") throw result.reason;
    return { matrix, tokens, truncated };
  }

  /** How many runs are worth having under way. */
  #runsOf({ concurrency }: EngineSession): number {
    const short = this.#parts.batchTexts === 1 && concurrency > 1;
    return short ? Math.min(MAX_RUNS, concurrency * SHORT_RUNS) : concurrency;
  }

  async #run(
    session: EngineSession,
    batch: Batch,
    matrix: Float32Array,
    signal: AbortSignal,
  ): Promise<void> {
    const { identity, tokenizer } = this;
    const inputs = feedsOf(batch, tokenizer.padId, this.#parts.inputs);
    const rows = batch.encoded.length;
    const feeds = { rows, columns: batch.columns, inputs };
    using output = await session.run(feeds, signal);
    const lengths = batch.encoded.map(({ ids }) => ids.length);
    pool({ output, columns: batch.columns, lengths, identity }, matrix, batch.texts);
  }

  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
  }
}
