/** Embeddings for every program on the host: the cache behind limits and counts. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Embedder } from "../embed/embedder.ts";
import { Counter, Latency } from "./metrics.ts";
import type { Models } from "./models.ts";
import {
  embeddingsBody,
  type EmbeddingsRequest,
  RequestError,
  shorten,
} from "./openai.ts";

/** Most neighbours of one search. */
const NEIGHBOURS_LIMIT = 1000;

/** What the service counts. */
export class ServiceMetrics {
  readonly requests = new Counter(
    "opdbus_requests_total",
    "Requests by route and status",
  );
  readonly texts = new Counter("opdbus_texts_total", "Texts by where their vector was");
  readonly shared = new Counter(
    "opdbus_single_flight_total",
    "Texts answered by a computation that was under way already",
  );
  readonly tokens = new Counter("opdbus_tokens_total", "Tokens that models read");
  readonly computeSeconds = new Counter(
    "opdbus_compute_seconds_total",
    "Time within models",
  );
  readonly latency = new Latency(
    "opdbus_request_duration_seconds",
    "Time from a request's first byte to its answer",
    "route",
  );
  /** By layer: `memory`, `disk`, `model`. */
  readonly layers = new Latency(
    "opdbus_lookup_duration_seconds",
    "Time of a lookup by the slowest layer that it needed",
    "layer",
  );

  text(): string {
    return [
      this.requests,
      this.texts,
      this.shared,
      this.tokens,
      this.computeSeconds,
      this.latency,
      this.layers,
    ].map((metric) => metric.text()).join("");
  }
}

/** Looks vectors up, computing what is missing. */
export class EmbeddingService {
  readonly metrics = new ServiceMetrics();
  /** Texts that calls are looking up now, by model. */
  readonly #inFlight = new Set<string>();

  constructor(readonly cache: EmbeddingCache, readonly models: Models) {}

  /** Answers a request of the OpenAI API: the body. */
  async embeddings(request: EmbeddingsRequest, signal: AbortSignal): Promise<string> {
    const name = request.model ?? this.models.defaultName;
    const embedder = await this.models.get(name);
    const own = embedder.identity.dimensions;
    const wanted = request.dimensions ?? own;
    if (wanted > own) {
      throw new RequestError(
        "bad_parameter",
        `${name} has ${own} dimensions, ${wanted} were asked for`,
        "dimensions",
      );
    }
    const { matrix, tokens } = await this.embed(request.texts, embedder, signal);
    const rows = request.texts.map((_, i) => {
      const row = matrix.subarray(i * own, (i + 1) * own);
      return wanted < own ? shorten(row, wanted) : row;
    });
    return embeddingsBody(rows, name, request.format, tokens);
  }

  /** The vectors of texts; hits and misses are counted. */
  async embed(texts: readonly string[], embedder: Embedder, signal: AbortSignal) {
    const start = performance.now();
    if (texts.length === 1) {
      const view = this.cache.peek(texts[0]!, embedder.identity);
      if (view) {
        this.metrics.texts.add(1, { layer: "memory" });
        this.metrics.layers.observe((performance.now() - start) / 1000, "memory");
        return { matrix: view, tokens: 0 };
      }
    }
    const { found, shared } = await this.#lookUp(texts, embedder, signal);
    const { texts: count } = this.metrics;
    this.metrics.shared.add(Math.min(shared, found.diskHits));
    count.add(found.memoryHits + found.duplicates, { layer: "memory" });
    count.add(found.diskHits, { layer: "disk" });
    count.add(found.misses, { layer: "model" });
    this.metrics.tokens.add(found.tokens);
    const layer = found.misses > 0 ? "model" : found.diskHits > 0 ? "disk" : "memory";
    this.metrics.layers.observe((performance.now() - start) / 1000, layer);
    return found;
  }

  /** The lookup, and how many of its texts another call was looking up already. */
  async #lookUp(texts: readonly string[], embedder: Embedder, signal: AbortSignal) {
    const names = texts.map((text) => `${embedder.identity.digest} ${text}`);
    const own = names.filter((name) => !this.#inFlight.has(name));
    own.forEach((name) => this.#inFlight.add(name));
    try {
      const found = await this.cache.getOrEmbed(texts, this.#counting(embedder), {
        signal,
      });
      return { found, shared: names.length - own.length };
    } finally {
      own.forEach((name) => this.#inFlight.delete(name));
    }
  }

  /** The same embedder, its time counted. */
  #counting(embedder: Embedder): Embedder {
    return {
      identity: embedder.identity,
      embed: async (texts, options) => {
        const start = performance.now();
        try {
          return await embedder.embed(texts, options);
        } finally {
          const seconds = (performance.now() - start) / 1000;
          this.metrics.computeSeconds.add(seconds);
        }
      },
      [Symbol.dispose]: () => {},
    };
  }

  /** The cached texts nearest to a text, best first. */
  async similar(text: string, k: number, model: string | null, signal: AbortSignal) {
    if (!(Number.isSafeInteger(k) && k >= 1 && k <= NEIGHBOURS_LIMIT)) {
      throw new RequestError("bad_parameter", `k is not 1 to ${NEIGHBOURS_LIMIT}`, "k");
    }
    const name = model ?? this.models.defaultName;
    const embedder = await this.models.get(name);
    const { matrix } = await embedder.embed([text], { signal });
    const matches = this.cache.search(matrix, k, embedder.identity, signal);
    return {
      object: "list",
      model: name,
      data: matches.map(({ score, text, key }, index) => ({ index, score, text, key })),
    };
  }
}
