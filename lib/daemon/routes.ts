/** The paths of the service that programs use. The page and its data are in page.ts. */
import type { EmbeddingService } from "./embedding_service.ts";
import type { HttpAnswer, Route } from "./http_server.ts";
import type { Limits } from "./limits.ts";
import { parseEmbeddings, parseModel, parseObject, RequestError } from "./openai.ts";

const DEFAULT_NEIGHBOURS = 10;

/** Something that adds metrics when they are asked for, and may say that it is not ready. */
export interface RouteExtras {
  readonly metrics?: () => string | Promise<string>;
  /** Why the service is not ready; null when it is. */
  readonly notReady?: () => string | null;
}

/** A JSON answer. */
export function jsonAnswer(value: unknown, status = 200): HttpAnswer {
  return { status, type: "application/json", body: JSON.stringify(value) };
}

/** The API's routes. */
export function apiRoutes(
  service: EmbeddingService,
  limits: () => Limits,
  extras: RouteExtras = {},
): Map<string, Route> {
  return new Map<string, Route>([
    ["/v1/embeddings", embeddingsRoute(service, limits)],
    ["/v1/models", modelsRoute(service)],
    ["/v1/similarity", similarityRoute(service)],
    ["/healthz", { ...probe(() => ({ type: "text/plain", body: "ok\n" })), open: true }],
    [
      "/readyz",
      { ...probe(() => readiness(extras.notReady?.() ?? null)), open: true },
    ],
    [
      "/metrics",
      probe(async () => ({
        type: "text/plain; version=0.0.4; charset=utf-8",
        body: service.metrics.text() + (await extras.metrics?.() ?? ""),
      })),
    ],
  ]);
}

/** A path that is answered however busy the service is. */
function probe(handle: Route["handle"]): Route {
  return { method: "GET", limited: false, handle };
}

function readiness(why: string | null): HttpAnswer {
  if (why === null) return { type: "text/plain", body: "ready\n" };
  return { status: 503, type: "text/plain", body: `${why}\n` };
}

function embeddingsRoute(service: EmbeddingService, limits: () => Limits): Route {
  return {
    method: "POST",
    limited: true,
    async handle({ body, signal, reserve }) {
      const request = parseEmbeddings(parseObject(body), limits().batchTexts);
      return {
        type: "application/json",
        body: await service.embeddings(request, signal, reserve),
      };
    },
  };
}

function modelsRoute(service: EmbeddingService): Route {
  const created = Math.floor(Date.now() / 1000);
  return {
    method: "GET",
    limited: true,
    handle: () =>
      jsonAnswer({
        object: "list",
        data: service.models.names().map((id) => ({
          id,
          object: "model",
          created,
          owned_by: "op-dbus",
        })),
      }),
  };
}

function similarityRoute(service: EmbeddingService): Route {
  return {
    method: "POST",
    limited: true,
    async handle({ body, signal }) {
      const { input, k, model, ...rest } = parseObject(body);
      const unknown = Object.keys(rest)[0];
      if (unknown !== undefined) {
        throw new RequestError(
          "unknown_parameter",
          `Unknown parameter: ${unknown}`,
          unknown,
        );
      }
      if (typeof input !== "string" || input === "") {
        throw new RequestError("bad_input", "input is not a text, or is empty", "input");
      }
      const count = (k ?? DEFAULT_NEIGHBOURS) as number;
      return jsonAnswer(await service.similar(input, count, parseModel(model), signal));
    },
  };
}
