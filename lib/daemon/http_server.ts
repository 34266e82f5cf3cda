/**
 * The HTTP side of the service: reads requests within limits, answers, and keeps slow or
 * broken clients from holding up others.
 */
import http from "node:http";
import type { Socket } from "node:net";
import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { asOpError, OpError } from "../base/errors.ts";
import { BusyError, type Limits, RateLimit, Turnstile } from "./limits.ts";
import type { ServiceMetrics } from "./embedding_service.ts";
import { errorBody, RequestError } from "./openai.ts";

/** A request as routes see it. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Uint8Array;
  /** Aborts when the client goes or the time is up. */
  readonly signal: AbortSignal;
}

/** An answer. */
export interface HttpAnswer {
  readonly status?: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What answers a path. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Waits its turn and counts against the rate; probes and metrics do not. */
  readonly limited: boolean;
  readonly handle: (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
}

/** Where to listen: a path, an address, or a descriptor that systemd handed over. */
export type ListenOn =
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  | { readonly fd: number };

/** How to serve. */
export interface HttpOptions {
  readonly routes: ReadonlyMap<string, Route>;
  readonly limits: Limits;
  readonly metrics: ServiceMetrics;
  /** Clients must send `Authorization: Bearer TOKEN`; null for none. */
  readonly token: string | null;
  /** Hears of each failure that is the service's own: one line. */
  readonly onFailure: (error: OpError, path: string) => void;
}

const HEADER_LIMIT_BYTES = 16 * 1024;
const KEEP_ALIVE_MS = 60_000;
/** How often the parser looks for headers and bodies that are overdue. */
const TIMER_STEP_MS = 1000;
const DRAIN_POLL_MS = 20;

/** A server on one or more sockets. */
export class HttpServer {
  readonly #servers: http.Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly turnstile: Turnstile;
  readonly #rate: RateLimit;
  #active = 0;
  #draining = false;

  constructor(readonly options: HttpOptions) {
    const { limits } = options;
    this.turnstile = new Turnstile(limits.concurrent, limits.waiting);
    this.#rate = new RateLimit(limits.perSecond);
  }

  /** Requests that are being answered now. */
  get active(): number {
    return this.#active;
  }

  /**
   * Listens on one more socket.
   * @returns the port, where it is a TCP one
   * @throws {OpError} `cannot_listen`
   */
  listen(on: ListenOn): Promise<number | null> {
    const { limits } = this.options;
    const server = http.createServer({
      maxHeaderSize: HEADER_LIMIT_BYTES,
      headersTimeout: limits.bodyTimeoutMs,
      requestTimeout: limits.bodyTimeoutMs,
      connectionsCheckingInterval: Math.min(TIMER_STEP_MS, limits.bodyTimeoutMs),
      keepAliveTimeout: KEEP_ALIVE_MS,
    }, (request, response) => void this.#serve(request, response));
    server.on("connection", (socket: Socket) => this.#accept(socket));
    server.on("clientError", (_error, socket) => socket.destroy());
    this.#servers.push(server);
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    server.once("error", (cause: Error) => reject(cannotListen(on, cause)));
    server.listen(on, () => {
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port ?? null : null);
    });
    return promise;
  }

  #accept(socket: Socket): void {
    if (this.#sockets.size >= this.options.limits.connections) {
      return void socket.destroy();
    }
    this.#sockets.add(socket);
    // Headers that never end: the parser's own timer starts with the first byte only.
    const timer = setTimeout(() => {
      if (socket.bytesRead === 0) socket.destroy();
    }, this.options.limits.bodyTimeoutMs);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse) {
    const start = performance.now();
    this.#active++;
    const path = (request.url ?? "/").split("?", 1)[0]!;
    const known = this.options.routes.has(path) ? path : "other";
    let status = 500;
    try {
      const answer = await this.#answer(request, response, path);
      status = this.#send(response, answer);
    } catch (error) {
      status = this.#sendError(response, error, path);
    } finally {
      this.#active--;
      const { requests, latency } = this.options.metrics;
      requests.add(1, { route: known, status: String(status) });
      latency.observe((performance.now() - start) / 1000, known);
    }
  }

  async #answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    path: string,
  ): Promise<HttpAnswer> {
    const route = this.options.routes.get(path);
    if (!route) throw new HttpError(404, "not_found", `There is nothing at ${path}`);
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (method !== route.method) {
      throw new HttpError(405, "bad_method", `${path} takes ${route.method}`);
    }
    this.#authorize(request);
    if (this.#draining && route.limited) {
      throw new BusyError(503, "The service is stopping", 1);
    }
    if (!route.limited) {
      const gone = new AbortController();
      return route.handle(this.#request(request, path, new Uint8Array(), gone.signal));
    }
    this.#rate.take();
    const stop = new AbortController();
    const timer = setTimeout(
      () => stop.abort(new HttpError(503, "too_slow", "The request took too long")),
      this.options.limits.requestTimeoutMs,
    );
    const gone = () => stop.abort(new HttpError(499, "gone", "The client is gone"));
    response.once("close", gone);
    try {
      const body = await this.#body(request);
      const leave = await this.turnstile.enter(stop.signal);
      try {
        return await route.handle(this.#request(request, path, body, stop.signal));
      } finally {
        leave();
      }
    } finally {
      response.off("close", gone);
      clearTimeout(timer);
    }
  }

  #request(
    request: http.IncomingMessage,
    path: string,
    body: Uint8Array,
    signal: AbortSignal,
  ): HttpRequest {
    const query = new URLSearchParams((request.url ?? "").split("?")[1] ?? "");
    return { method: request.method ?? "GET", path, query, body, signal };
  }

  #authorize(request: http.IncomingMessage): void {
    const { token } = this.options;
    if (token === null) return;
    const given = Buffer.from(request.headers.authorization ?? "");
    const wanted = Buffer.from(`Bearer ${token}`);
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
    throw new HttpError(401, "unauthorized", "The token is missing or wrong");
  }

  /** The body, within its limit and time. */
  #body(request: http.IncomingMessage): Promise<Uint8Array> {
    const { bodyBytes, bodyTimeoutMs } = this.options.limits;
    const tooLarge = () =>
      new HttpError(413, "too_large", `The body is over ${bodyBytes} bytes`);
    if (Number(request.headers["content-length"] ?? 0) > bodyBytes) {
      return Promise.reject(tooLarge());
    }
    return new Promise((resolve, reject) => {
      const pieces: Buffer[] = [];
      let size = 0;
      const timer = setTimeout(() => {
        reject(new HttpError(408, "too_slow", "The body did not arrive in time"));
      }, bodyTimeoutMs);
      const done = () => clearTimeout(timer);
      request.on("data", (piece: Buffer) => {
        size += piece.length;
        if (size > bodyBytes) {
          done();
          request.pause();
          return reject(tooLarge());
        }
        pieces.push(piece);
      });
      request.once("end", () => {
        done();
        resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
      });
      request.once("close", () => {
        done();
        // Also comes after a whole body: an error costs more than asking.
        if (!request.complete) reject(new HttpError(499, "gone", "The client is gone"));
      });
    });
  }

  #send(response: http.ServerResponse, answer: HttpAnswer): number {
    const status = answer.status ?? 200;
    if (response.destroyed) return 499;
    const body = Buffer.from(answer.body);
    response.writeHead(status, {
      "content-type": answer.type,
      "content-length": body.length,
      ...answer.headers,
    });
    response.end(body);
    return status;
  }

  #sendError(response: http.ServerResponse, thrown: unknown, path: string): number {
    const error = asOpError(thrown);
    const status = statusOf(error);
    if (status >= 500 && !(error instanceof BusyError)) {
      this.options.onFailure(error, path);
    }
    const param = error instanceof RequestError ? error.param : null;
    const type = status < 500 ? "invalid_request_error" : "server_error";
    const hint = error.hint ? ` (${error.hint})` : "";
    const headers: Record<string, string> = {};
    if (error instanceof BusyError) headers["retry-after"] = String(error.retryAfterS);
    if (status === 401) headers["www-authenticate"] = "Bearer";
    // What is left of the body is not read: the connection is of no more use.
    if (status === 413 || status === 408) headers["connection"] = "close";
    return this.#send(response, {
      status,
      type: "application/json",
      headers,
      body: errorBody(error.message + hint, type, error.code, param),
    });
  }

  /**
   * Stops taking requests, lets those under way end, closes.
   * @param waitMs then what is left is cut off
   */
  async drain(waitMs: number): Promise<void> {
    this.#draining = true;
    for (const server of this.#servers) server.close();
    const deadline = Date.now() + waitMs;
    while (this.#active > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** An error that is an HTTP status. */
export class HttpError extends OpError {
  override readonly name = "HttpError";
  constructor(readonly status: number, code: string, message: string) {
    super(code, message);
  }
}

function cannotListen(on: ListenOn, cause: Error): OpError {
  const message = `Cannot listen on ${JSON.stringify(on)}: ${cause.message}`;
  return new OpError("cannot_listen", message, {
    cause,
    hint: "is another op-dbus serving? op-dbus status tells",
  });
}

function statusOf(error: OpError): number {
  if (error instanceof HttpError || error instanceof BusyError) return error.status;
  if (error.code === "model_not_found") return 404;
  if (error.code.startsWith("upstream_")) return 502;
  if (error instanceof RequestError || error.exitCode === 2) return 400;
  return 500;
}
