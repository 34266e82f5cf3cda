/**
 * The HTTP side of the service: reads requests within limits, answers, and keeps slow or
 * broken clients from holding up others.
 */
import http from "node:http";
import type { Socket } from "node:net";
import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { asOpError, type OpError } from "../base/errors.ts";
import {
  bodyLength,
  cannotListen,
  HttpError,
  isStray,
  MethodError,
  refuse,
  statusOf,
} from "./http_errors.ts";
import { BusyError, ByteBudget, type Limits, RateLimit, Turnstile } from "./limits.ts";
import { type Held, readBody } from "./body.ts";
import { Connections } from "./connections.ts";
import type { ServiceMetrics } from "./embedding_service.ts";
import { errorBody, RequestError } from "./openai.ts";
import { sendPieces, UnsentAnswers } from "./unsent.ts";

/** A request as routes see it. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Uint8Array;
  /** Aborts when the client goes or the time is up. */
  readonly signal: AbortSignal;
  /** Waits until there is memory for an answer of so many bytes. @throws {OpError} 413 */
  readonly reserve: (sizeBytes: number) => Promise<void>;
}

/** An answer. */
export interface HttpAnswer {
  readonly status?: number;
  readonly type: string;
  /** Pieces are asked for as the client takes them. */
  readonly body: string | Iterable<string>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What answers a path. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Waits its turn and counts against the rate; probes and metrics do not. */
  readonly limited: boolean;
  /** Answered without a token too: it tells nothing but that there is a service. */
  readonly open?: boolean;
  readonly handle: (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
}

/** Where to listen: a path, an address, or a descriptor that systemd handed over. */
export type ListenOn =
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  | { readonly fd: number };

/** A socket that is listened on. */
export interface Listening {
  /** The TCP port; null for a unix socket. */
  readonly port: number | null;
  /** Takes no more connections there; those that are open go on. */
  readonly close: () => void;
}

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

/** Bearer for programs, Basic for a browser that shows the page. */
const CHALLENGE = 'Bearer, Basic realm="op-dbus, password: the token"';
const HEADER_LIMIT_BYTES = 16 * 1024;
const KEEP_ALIVE_MS = 60_000;
/** How often the parser looks for headers and bodies that are overdue. */
const TIMER_STEP_MS = 1000;
const DRAIN_POLL_MS = 20;
const NO_BYTES = new Uint8Array();

/** A server on one or more sockets. */
export class HttpServer {
  readonly #servers = new Set<http.Server>();
  readonly connections: Connections;
  readonly turnstile: Turnstile;
  readonly unsent: UnsentAnswers;
  readonly #bodies: ByteBudget;
  readonly #rate: RateLimit;
  #limits: Limits;
  #token: string | null;
  #active = 0;
  #draining = false;

  constructor(readonly options: HttpOptions) {
    const { limits } = options;
    this.#limits = limits;
    this.#token = options.token;
    this.connections = new Connections(limits.connections);
    this.turnstile = new Turnstile(limits.concurrent, limits.waiting);
    this.unsent = new UnsentAnswers(limits.heldBytes, limits.bodyTimeoutMs);
    this.#bodies = new ByteBudget(limits.heldBytes);
    this.#rate = new RateLimit(limits.perSecond);
  }

  get limits(): Limits {
    return this.#limits;
  }

  /** Other limits and another token, from the next request on. */
  configure(limits: Limits, token: string | null): void {
    this.#limits = limits;
    this.#token = token;
    this.connections.limit = limits.connections;
    this.turnstile.concurrent = limits.concurrent;
    this.turnstile.waiting = limits.waiting;
    this.unsent.limitBytes = limits.heldBytes;
    this.#bodies.limitBytes = limits.heldBytes;
    this.#rate.perSecond = limits.perSecond;
  }

  /** Requests that are being answered now. */
  get active(): number {
    return this.#active;
  }

  /** Bytes of request bodies that are held now. */
  get bodyBytes(): number {
    return this.#bodies.held;
  }

  /**
   * Listens on one more socket.
   * @returns the port, where it is a TCP one, and a way to listen there no longer
   * @throws {OpError} `cannot_listen`
   */
  listen(on: ListenOn): Promise<Listening> {
    const limits = this.#limits, isTcp = "host" in on;
    const server = http.createServer({
      maxHeaderSize: HEADER_LIMIT_BYTES,
      headersTimeout: limits.bodyTimeoutMs,
      requestTimeout: limits.bodyTimeoutMs,
      connectionsCheckingInterval: Math.min(TIMER_STEP_MS, limits.bodyTimeoutMs),
      keepAliveTimeout: KEEP_ALIVE_MS,
    }, (request, response) => void this.#serve(request, response, isTcp));
    server.on("connection", (socket: Socket) => {
      this.connections.accept(socket, this.#limits.bodyTimeoutMs);
    });
    server.on("clientError", (error: Error, socket: Socket) => refuse(error, socket));
    server.on("checkContinue", (request, response) => {
      // Refused before it is sent, where its length says so already.
      if (bodyLength(request) <= this.#limits.bodyBytes) response.writeContinue();
      void this.#serve(request, response, isTcp);
    });
    const { promise, resolve, reject } = Promise.withResolvers<Listening>();
    server.once("error", (cause: Error) => reject(cannotListen(on, cause)));
    server.listen(on, () => {
      this.#servers.add(server);
      const address = server.address();
      const port = typeof address === "object" && address ? address.port ?? null : null;
      const close = () => {
        this.#servers.delete(server);
        server.close();
      };
      resolve({ port, close });
    });
    return promise;
  }

  async #serve(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    isTcp: boolean,
  ) {
    const start = performance.now();
    this.#active++;
    const socket = request.socket as Socket;
    if (this.connections.isSurplus(socket)) response.shouldKeepAlive = false;
    const path = (request.url ?? "/").split("?", 1)[0]!;
    const known = this.options.routes.has(path) ? path : "other";
    let status = 500;
    const held: Held = { bodyBytes: 0, answerBytes: 0, release: null };
    try {
      if (isTcp && this.#token === null && isStray(request)) {
        throw new HttpError(421, "stray_host", "This host goes by no such name here");
      }
      const answer = await this.#answer(request, response, path, held);
      status = this.#send(response, answer, held.answerBytes);
    } catch (error) {
      status = this.#sendError(request, response, error, path);
    } finally {
      this.#active--;
      held.release?.();
      this.connections.answered(socket);
      const { requests, latency } = this.options.metrics;
      requests.add(1, { route: known, status: String(status) });
      latency.observe((performance.now() - start) / 1000, known);
    }
  }

  async #answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    path: string,
    held: Held,
  ): Promise<HttpAnswer> {
    const route = this.options.routes.get(path);
    if (!route) throw new HttpError(404, "not_found", `There is nothing at ${path}`);
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (method !== route.method) {
      throw new MethodError(path, route.method);
    }
    if (route.limited && this.connections.isSurplus(request.socket as Socket)) {
      const { connections } = this.#limits;
      throw new BusyError(503, `${connections} connections are at work already`, 1);
    }
    if (!route.open) this.#authorize(request);
    // Another site's page, in a browser on this host: it may not even make us compute.
    if (request.headers["sec-fetch-site"] === "cross-site" && route.method === "POST") {
      throw new HttpError(403, "cross_site", "Pages of other sites may not ask");
    }
    if (this.#draining && route.limited) {
      throw new BusyError(503, "The service is stopping", 1);
    }
    if (!route.limited) {
      const { signal } = new AbortController();
      this.connections.working(request.socket as Socket);
      return route.handle(this.#request(request, path, { signal }));
    }
    this.#rate.take();
    const stop = new AbortController();
    const timer = setTimeout(
      () => stop.abort(new BusyError(503, "The request took too long", 1)),
      this.#limits.requestTimeoutMs,
    );
    const gone = () => stop.abort(new HttpError(499, "gone", "The client is gone"));
    response.once("close", gone);
    const { signal } = stop;
    const reserve = async (sizeBytes: number) => {
      held.release = await this.unsent.take(sizeBytes, signal);
      held.answerBytes = sizeBytes;
    };
    try {
      const body = await readBody(request, this.#limits, this.#bodies, held);
      this.connections.working(request.socket as Socket);
      const asked = { body, signal, reserve };
      const leave = await this.turnstile.enter(signal);
      try {
        return await route.handle(this.#request(request, path, asked));
      } finally {
        leave();
      }
    } finally {
      this.#bodies.give(held.bodyBytes);
      response.off("close", gone);
      clearTimeout(timer);
    }
  }

  #request(
    request: http.IncomingMessage,
    path: string,
    more: Pick<HttpRequest, "signal"> & Partial<HttpRequest>,
  ): HttpRequest {
    const query = new URLSearchParams((request.url ?? "").split("?")[1] ?? "");
    const method = request.method ?? "GET";
    const reserve = () => Promise.resolve();
    return { method, path, query, body: NO_BYTES, reserve, ...more };
  }

  /** The token, as programs send it, or as the password that a browser asks for. */
  #authorize(request: http.IncomingMessage): void {
    if (this.#token === null) return;
    const [scheme = "", rest = ""] = (request.headers.authorization ?? "").split(" ");
    const basic = scheme.toLowerCase() === "basic";
    const text = basic ? Buffer.from(rest, "base64").toString() : rest;
    const given = Buffer.from(basic ? text.slice(text.indexOf(":") + 1) : text);
    const wanted = Buffer.from(this.#token);
    const known = basic || scheme.toLowerCase() === "bearer";
    const equal = given.length === wanted.length && timingSafeEqual(given, wanted);
    if (known && equal) return;
    throw new HttpError(401, "unauthorized", "The token is missing or wrong");
  }

  /** @param reservedBytes what the answer holds until it is taken */
  #send(
    response: http.ServerResponse,
    answer: HttpAnswer,
    reservedBytes = 0,
  ): number {
    const status = answer.status ?? 200;
    if (response.destroyed) return 499;
    const headers = { "content-type": answer.type, ...answer.headers };
    if (typeof answer.body === "string") {
      const body = Buffer.from(answer.body);
      response.writeHead(status, { "content-length": body.length, ...headers });
      this.unsent.watch(response, Math.max(body.length, reservedBytes));
      response.end(body);
    } else {
      response.writeHead(status, headers);
      this.unsent.watch(response, reservedBytes);
      sendPieces(response, answer.body);
    }
    return status;
  }

  #sendError(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    thrown: unknown,
    path: string,
  ): number {
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
    if (status === 401) headers["www-authenticate"] = CHALLENGE;
    if (error instanceof MethodError) headers["allow"] = error.allowed;
    // What is left of the body is not read: the connection is of no more use.
    if (!request.complete) headers["connection"] = "close";
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
    this.connections.destroy();
  }
}
