/** Reads a request's body, within its limits. */
import type http from "node:http";
import type { OpError } from "../base/errors.ts";
import { Buffer } from "node:buffer";
import { bodyLength, HttpError } from "./http_errors.ts";
import type { ByteBudget, Limits } from "./limits.ts";

/** Bodies up to this are bounded by the number of connections alone. */
const UNCOUNTED_BYTES = 64 * 1024;

/** What a request holds of the memory that all of them share. */
export interface Held {
  /** Of {@link ByteBudget}, to be given back. */
  bodyBytes: number;
  /** What was reserved for its answer. */
  answerBytes: number;
  /** Gives that back. */
  release: (() => void) | null;
}

/**
 * The body.
 *
 * @param budget what all bodies together may hold; small ones always have a place
 * @param held counts what is held of it, also after a failure
 * @throws {OpError} 408, 413, 499, 503
 */
export function readBody(
  request: http.IncomingMessage,
  { bodyBytes, bodyTimeoutMs }: Limits,
  budget: ByteBudget,
  held: Held,
): Promise<Uint8Array> {
  const tooLarge = () =>
    new HttpError(413, "too_large", `The body is over ${bodyBytes} bytes`);
  if (bodyLength(request) > bodyBytes) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let seen = 0;
    /** Nothing more is read, nor held. */
    const fail = (error: OpError) => {
      clearTimeout(timer);
      request.pause();
      request.removeAllListeners("data");
      reject(error);
    };
    const timer = setTimeout(() => {
      fail(new HttpError(408, "too_slow", "The body did not arrive in time"));
    }, bodyTimeoutMs);
    request.on("data", (piece: Buffer) => {
      seen += piece.length;
      if (seen > bodyBytes) return fail(tooLarge());
      const more = seen > UNCOUNTED_BYTES ? seen - held.bodyBytes : 0;
      try {
        budget.take(more);
      } catch (error) {
        return fail(error as OpError);
      }
      held.bodyBytes += more;
      pieces.push(piece);
    });
    request.once("end", () => {
      clearTimeout(timer);
      resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
    });
    request.once("close", () => {
      clearTimeout(timer);
      // Also comes after a whole body: an error costs more than asking.
      if (!request.complete) reject(new HttpError(499, "gone", "The client is gone"));
    });
  });
}
