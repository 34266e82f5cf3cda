/** Errors of the service as HTTP tells them. */
import type http from "node:http";
import type { Socket } from "node:net";
import { OpError } from "../base/errors.ts";
import { BusyError } from "./limits.ts";
import { errorBody, RequestError } from "./openai.ts";

/** An error that is an HTTP status. */
export class HttpError extends OpError {
  override readonly name = "HttpError";
  constructor(readonly status: number, code: string, message: string) {
    super(code, message);
  }
}

/** A path that another method answers. */
export class MethodError extends HttpError {
  constructor(path: string, readonly allowed: string) {
    super(405, "bad_method", `${path} takes ${allowed}`);
  }
}

/** What a request says that its body's length is; 0 where it does not. */
export function bodyLength(request: http.IncomingMessage): number {
  return Number(request.headers["content-length"] ?? 0);
}

/** An address, or a name that leads to this host wherever it is asked for. */
const OWN_NAME =
  /^(?:\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+|(?:[\w-]+\.)*localhost)(?::\d+)?$/i;

/**
 * True for a request to a name that somebody else may have given this address: so a page
 * of theirs would come past a browser's same-origin policy.
 */
export function isStray(request: http.IncomingMessage): boolean {
  return !OWN_NAME.test(request.headers.host ?? "localhost");
}

/** Answers what is not HTTP, or never became a whole request, and ends the connection. */
export function refuse(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
  const [status, what] = error.code === "HPE_HEADER_OVERFLOW"
    ? ["431 Request Header Fields Too Large", "The headers are too long"]
    : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? ["408 Request Timeout", "The request did not arrive in time"]
    : ["400 Bad Request", "This is not HTTP"];
  const body = errorBody(what, "invalid_request_error", "bad_request", null);
  const head = `HTTP/1.1 ${status}\r\nconnection: close\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  socket.end(head + body, () => socket.destroy());
}

/** Why nothing can be heard on an address. */
export function cannotListen(on: object, cause: Error): OpError {
  const message = `Cannot listen on ${JSON.stringify(on)}: ${cause.message}`;
  return new OpError("cannot_listen", message, {
    cause,
    hint: "is another op-dbus serving? op-dbus status tells",
  });
}

/** The HTTP status of an error. */
export function statusOf(error: OpError): number {
  if (error instanceof HttpError || error instanceof BusyError) return error.status;
  if (error.code === "model_not_found") return 404;
  if (error.code.startsWith("upstream_")) return 502;
  if (error instanceof RequestError || error.exitCode === 2) return 400;
  return 500;
}
