/** Embeddings for every program on the host: the cache behind limits and counts. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Embedder } from "../embed/embedder.ts";
import { inSlices, SHORT_SLICES } from "../base/slices.ts";
import { Turnstile } from "./limits.ts";
import { Counter, Latency } from "./metrics.ts";
import type { Models } from "./models.ts";
import { SharedEmbedder, type TierTwo } from "./tier_two.ts";
import {
  answerSize,
  embeddingsBody,
  type EmbeddingsRequest,
  RequestError,
  shorten,
} from "./openai.ts";

/** Most neighbours of one search. */
const NEIGHBOURS_LIMIT = 1000;
/** Searches at once: two would only make each other slow. */
const SEARCHES = 1;

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
  /** By layer: `memory`, `disk`, `shared` (the second tier), `model`. */
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

/** The rows of a matrix, each cut to the dimensions that are wanted. */
function* rowsOf(matrix: Float32Array, own: number, wanted: number) {
  for (let at = 0; at < matrix.length; at += own) {
    const row = matrix.subarray(at, at + own);
    yield wanted < own ? shorten(row, wanted) : row;
  }
}

/** Looks vectors up, computing what is missing. */
export class EmbeddingService {
  readonly metrics = new ServiceMetrics();
  /** Texts that calls are looking up now, by model. */
  readonly #inFlight = new Set<string>();
  /** How many wait is bounded by who lets requests in. */
  readonly #searches = new Turnstile(SEARCHES, Infinity);
  /** How a search makes room for other requests. */
  slices = SHORT_SLICES;

  /** @param models may be replaced, as may `tier`, asked before a model is */
  constructor(
    readonly cache: EmbeddingCache,
    public models: Models,
    public tier: TierTwo | null = null,
  ) {}

  /**
   * Answers a request of the OpenAI API: the body, as one text or, of a large answer, in
   * pieces that are made when they are asked for.
   *
   * @param reserve waits for memory for it, bytes
   */
  async embeddings(
    request: EmbeddingsRequest,
    signal: AbortSignal,
    reserve: (sizeBytes: number) => Promise<void>,
  ): Promise<string | Iterable<string>> {
    const { texts, format } = request;
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
    const { sizeBytes, inPieces } = answerSize(texts.length, own, format);
    await reserve(sizeBytes);
    const { matrix, tokens } = await this.embed(texts, embedder, signal);
    const pieces = embeddingsBody(rowsOf(matrix, own, wanted), name, format, tokens);
    return inPieces ? pieces : [...pieces].join("");
  }

  /** The vectors of texts; hits and misses are counted. */
  async embed(texts: readonly string[], embedder: Embedder, signal: AbortSignal) {
    const start = performance.now();
    if (texts.length === 1) {
      const view = this.cache.peek(texts[0]!, embedder.identity);
      if (view) {
        this.metrics.texts.add(1, { layer: "memory" });
        this.metrics.layers.observe((performance.now() - start) / 1000, "memory");
        // A copy: who waits for this gets it a moment later, when the slot may be another's.
        return { matrix: view.slice(), tokens: 0 };
      }
    }
    const { found, joined, tierHits } = await this.#lookUp(texts, embedder, signal);
    this.metrics.shared.add(Math.min(joined, found.diskHits));
    this.metrics.tokens.add(found.tokens);
    const counts = {
      memory: found.memoryHits + found.duplicates,
      disk: found.diskHits,
      shared: tierHits,
      model: found.misses - tierHits,
    };
    let slowest = "memory";
    for (const [layer, count] of Object.entries(counts)) {
      if (count === 0) continue;
      this.metrics.texts.add(count, { layer });
      slowest = layer;
    }
    this.metrics.layers.observe((performance.now() - start) / 1000, slowest);
    return found;
  }

  /**
   * The lookup; how many of its texts another call was looking up already (`joined`), and
   * how many the second tier had.
   */
  async #lookUp(texts: readonly string[], embedder: Embedder, signal: AbortSignal) {
    using _use = this.models.use(embedder);
    const names = texts.map((text) => `${embedder.identity.digest} ${text}`);
    const own = names.filter((name) => !this.#inFlight.has(name));
    own.forEach((name) => this.#inFlight.add(name));
    let tierHits = 0;
    const timed = this.#timed(embedder);
    const layered = this.tier
      ? new SharedEmbedder(timed, this.tier, (count) => tierHits += count)
      : timed;
    try {
      const found = await this.cache.getOrEmbed(texts, layered, { signal });
      return { found, joined: names.length - own.length, tierHits };
    } finally {
      own.forEach((name) => this.#inFlight.delete(name));
    }
  }

  /** The same embedder, its time counted. */
  #timed(embedder: Embedder): Embedder {
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
    using _use = this.models.use(embedder);
    const { matrix } = await embedder.embed([text], { signal });
    const matches = await this.#search(matrix, k, embedder, signal);
    return {
      object: "list",
      model: name,
      data: matches.map(({ score, text, key }, index) => ({ index, score, text, key })),
    };
  }

  async #search(query: Float32Array, k: number, embedder: Embedder, signal: AbortSignal) {
    const leave = await this.#searches.enter(signal);
    try {
      const steps = this.cache.searching(query, k, embedder.identity, signal);
      return await inSlices(steps, this.slices);
    } finally {
      leave();
    }
  }
}
