/**
 * Upstream mode: another OpenAI-compatible endpoint computes, this host caches. What it
 * answers is believed only when it fits the question: as many vectors, each with its
 * index once, of the same size, finite, not zero.
 */
import { OpError } from "../base/errors.ts";
import type {
  Embedder,
  EmbedOptions,
  EmbedResult,
  ModelIdentity,
} from "../embed/embedder.ts";
import { hash } from "node:crypto";

/** How to reach the other endpoint. */
export interface UpstreamOptions {
  /** Up to `/v1`, e.g. `http://127.0.0.1:11434/v1`. */
  readonly url: string;
  readonly model: string;
  readonly dimensions: number;
  /** Sent as a bearer token; null for none. */
  readonly token: string | null;
  /** Changing it gives up what was cached: name the model's revision here. */
  readonly revision: string;
  readonly batchTexts: number;
  readonly timeoutMs: number;
  readonly attempts: number;
}

export const UPSTREAM_DEFAULTS = {
  token: null,
  revision: "",
  batchTexts: 64,
  timeoutMs: 30_000,
  attempts: 4,
} as const;

/** First wait before another attempt; doubles, with jitter. */
const BACKOFF_MS = 200, BACKOFF_LIMIT_MS = 10_000;
/** Longest answer that is read, per text and its base. */
const ANSWER_BYTES_PER_NUMBER = 32, ANSWER_BASE_BYTES = 64 * 1024;

/** Embeds by asking another endpoint. */
export class UpstreamEmbedder implements Embedder {
  readonly identity: ModelIdentity;

  constructor(readonly options: UpstreamOptions) {
    const { url, model, dimensions, revision } = options;
    this.identity = {
      name: model,
      // The weights are out of sight: endpoint, model and revision stand for them.
      digest: hash("sha256", JSON.stringify(["upstream", url, model, revision]), "hex"),
      dimensions,
      pooling: "none",
      normalisation: "none",
      prefix: "",
      maxTokens: 0,
    };
  }

  /**
   * @inheritdoc
   * @throws {OpError} `upstream_failed`, `upstream_answer`
   */
  async embed(
    texts: readonly string[],
    options: EmbedOptions = {},
  ): Promise<EmbedResult> {
    const { dimensions, batchTexts } = this.options;
    const matrix = new Float32Array(texts.length * dimensions);
    let tokens = 0;
    for (let from = 0; from < texts.length; from += batchTexts) {
      const batch = texts.slice(from, from + batchTexts);
      const answer = await this.#persist(batch, options.signal);
      matrix.set(answer.matrix, from * dimensions);
      tokens += answer.tokens;
    }
    return { matrix, tokens, truncated: 0 };
  }

  async #persist(texts: readonly string[], signal?: AbortSignal) {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#ask(texts, signal);
      } catch (error) {
        signal?.throwIfAborted();
        const again = error instanceof UpstreamError && error.transient;
        if (!again || attempt >= this.options.attempts) throw error;
        const step = Math.min(BACKOFF_LIMIT_MS, BACKOFF_MS * 2 ** (attempt - 1));
        const wait = Math.max(error.retryAfterMs, step * (0.5 + Math.random()));
        await pause(Math.min(wait, BACKOFF_LIMIT_MS), signal);
      }
    }
  }

  async #ask(texts: readonly string[], signal?: AbortSignal) {
    const { url, model, token, timeoutMs, dimensions } = this.options;
    const timeout = AbortSignal.timeout(timeoutMs);
    let response: Response;
    let body: string;
    try {
      response = await fetch(`${url}/embeddings`, {
        method: "POST",
        redirect: "error",
        headers: {
          "content-type": "application/json",
          ...(token !== null && { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({ model, input: texts, encoding_format: "float" }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      if (!response.ok) { // whatever it says about it, in whatever length
        void response.body?.cancel();
        throw refused(url, response.status, response.headers.get("retry-after"));
      }
      const limit = ANSWER_BASE_BYTES +
        texts.length * dimensions * ANSWER_BYTES_PER_NUMBER;
      body = await readLimited(response, limit);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof OpError) throw cause;
      throw new UpstreamError("upstream_failed", `Cannot reach ${url}`, true, 0, cause);
    }
    return checkAnswer(body, texts.length, dimensions, url);
  }

  [Symbol.dispose](): void {}
}

/** A failure of the other endpoint. */
export class UpstreamError extends OpError {
  override readonly name = "UpstreamError";
  constructor(
    code: "upstream_failed" | "upstream_answer",
    message: string,
    readonly transient: boolean,
    readonly retryAfterMs: number,
    cause?: unknown,
  ) {
    super(code, message, {
      hint: "check the endpoint (serve.upstream.*); nothing of it was cached",
      ...(cause !== undefined && { cause }),
    });
  }
}

function refused(url: string, status: number, retryAfter: string | null): UpstreamError {
  const transient = status === 429 || status === 408 || status >= 500;
  // Seconds, or a date (RFC 9110, 10.2.3).
  const given = Number(retryAfter) * 1000 || Date.parse(retryAfter ?? "") - Date.now();
  const retryMs = given > 0 ? given : 0;
  const message = `${url} answered with status ${status}`;
  return new UpstreamError("upstream_failed", message, transient, retryMs);
}

async function readLimited(response: Response, limitBytes: number): Promise<string> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > limitBytes) throw badAnswer(response.url, "it is too long");
    pieces.push(piece);
  }
  return await new Blob(pieces).text();
}

/** The vectors of an answer that fits the question. */
export function checkAnswer(
  body: string,
  count: number,
  dimensions: number,
  url: string,
): { matrix: Float32Array<ArrayBuffer>; tokens: number } {
  let answer: { data?: unknown; usage?: { prompt_tokens?: unknown } } | null;
  try {
    answer = JSON.parse(body);
  } catch {
    throw badAnswer(url, "it is not JSON");
  }
  const data = answer?.data;
  if (!Array.isArray(data) || data.length !== count) {
    throw badAnswer(url, `it does not hold ${count} vectors`);
  }
  const matrix = new Float32Array(count * dimensions);
  const seen = new Set<number>();
  for (const item of data) {
    const { index, embedding } = (item ?? {}) as { index?: unknown; embedding?: unknown };
    const inRange = Number.isInteger(index) && (index as number) >= 0 &&
      (index as number) < count;
    if (!inRange || seen.has(index as number)) {
      throw badAnswer(url, "its indices are not those of the question");
    }
    seen.add(index as number);
    matrix.set(checkVector(embedding, dimensions, url), (index as number) * dimensions);
  }
  const tokens = answer?.usage?.prompt_tokens;
  const counted = Number.isSafeInteger(tokens) && (tokens as number) >= 0;
  return { matrix, tokens: counted ? tokens as number : 0 };
}

function checkVector(value: unknown, dimensions: number, url: string): number[] {
  if (!Array.isArray(value) || value.length !== dimensions) {
    throw badAnswer(url, `a vector has not ${dimensions} numbers`);
  }
  if (!value.every((number) => Number.isFinite(Math.fround(number as number)))) {
    throw badAnswer(url, "a vector holds what is no number");
  }
  if (value.some((number) => typeof number !== "number")) {
    throw badAnswer(url, "a vector holds what is no number");
  }
  // Also one that is too small for float32.
  if (value.every((number) => Math.fround(number) === 0)) {
    throw badAnswer(url, "a vector is all zero");
  }
  return value as number[];
}

function badAnswer(url: string, why: string): UpstreamError {
  return new UpstreamError(
    "upstream_answer",
    `Cannot use the answer of ${url}: ${why}`,
    false,
    0,
  );
}

function pause(waitMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, waitMs);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
