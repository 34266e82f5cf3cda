/** What several tests of the service share. */
import http from "node:http";
import net from "node:net";
import { hash } from "node:crypto";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import type { Embedder } from "../../lib/embed/embedder.ts";
import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import { EmbeddingService } from "../../lib/daemon/embedding_service.ts";
import { apiRoutes } from "../../lib/daemon/routes.ts";
import { HttpServer } from "../../lib/daemon/http_server.ts";
import { DEFAULT_LIMITS, type Limits } from "../../lib/daemon/limits.ts";
import { Models } from "../../lib/daemon/models.ts";
import { tempFolder } from "../support/scratch.ts";

/** A running service on a unix socket and a TCP port. */
export interface TestService extends AsyncDisposable {
  readonly socket: string;
  readonly url: string;
  readonly folder: string;
  readonly server: HttpServer;
  readonly service: EmbeddingService;
}

/** How a test's service differs from the default. */
export interface TestServiceOptions {
  readonly limits?: Partial<Limits>;
  readonly token?: string;
  readonly embedders?: Record<string, Embedder>;
}

export async function testService(
  options: TestServiceOptions = {},
): Promise<TestService> {
  const scratch = await tempFolder("op-dbus-serve-");
  const cache = EmbeddingCache.open(scratch.path);
  const embedders = options.embedders ?? { builtin: new BuiltinEmbedder() };
  const models = new Models({
    defaultName: Object.keys(embedders)[0]!,
    names: () => Object.keys(embedders),
    open: (name) => Promise.resolve(embedders[name]!),
  });
  const service = new EmbeddingService(cache, models);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const server = new HttpServer({
    routes: apiRoutes(service, () => limits),
    limits,
    metrics: service.metrics,
    token: options.token ?? null,
    onFailure: () => {},
  });
  const socket = `${scratch.path}/http.sock`;
  await server.listen({ path: socket });
  const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
  return {
    socket,
    url: `http://127.0.0.1:${port}`,
    folder: scratch.path,
    server,
    service,
    async [Symbol.asyncDispose]() {
      await server.drain(1000);
      cache.close();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** One request over a unix socket, by another HTTP client than fetch. */
export function overSocket(
  socketPath: string,
  path: string,
  body?: string,
): Promise<{ status: number; text: string; headers: http.IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath,
      path,
      method: body === undefined ? "GET" : "POST",
      headers: { "content-type": "application/json" },
    }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => text += piece);
      response.on(
        "end",
        () => resolve({ status: response.statusCode!, text, headers: response.headers }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** An embedder that a test holds in its hand. */
export function fakeModel(
  dimensions: number,
  embed: (texts: readonly string[]) => Promise<void> | void = () => {},
): Embedder & { calls: string[][] } {
  const calls: string[][] = [];
  return {
    calls,
    identity: {
      name: "test",
      digest: hash("sha256", `test-${dimensions}`, "hex"),
      dimensions,
      pooling: "mean",
      normalisation: "l2",
      prefix: "",
      maxTokens: 0,
    },
    async embed(texts) {
      calls.push([...texts]);
      await embed(texts);
      const matrix = new Float32Array(texts.length * dimensions);
      texts.forEach((text, i) => {
        const bytes = hash("sha256", text, "buffer");
        for (let d = 0; d < dimensions; d++) {
          matrix[i * dimensions + d] = bytes[d % 32]! / 255 - 0.5;
        }
      });
      return { matrix, tokens: texts.length * 3, truncated: 0 };
    },
    [Symbol.dispose]() {},
  };
}

/** Posts JSON, or a text that should be some. */
export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const { status } = response;
  return { status, headers: response.headers, json: await response.json() };
}

/** One turn of the event loop. */
export const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** What a raw socket hears until the other side closes; `""` when it is cut off. */
export function hear(path: string, ...say: (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = net.connect(path, () => say.forEach((piece) => socket.write(piece)));
    socket.on("data", (piece) => text += piece.toString("latin1"));
    socket.on("error", () => {}); // cut off: what was heard counts
    socket.on("close", () => resolve(text));
  });
}

/** A request for embeddings as a raw socket sends it. */
export function rawRequest(input: unknown): string {
  const body = JSON.stringify({ input });
  return `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
}
