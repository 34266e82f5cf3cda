/** Memory of answers, from before they are made until they are taken: bounded. */
import type http from "node:http";
import { HttpError } from "./http_errors.ts";

/** Smaller ones fit the kernel's buffers, or nearly: not worth watching each. */
const WATCHED_BYTES = 64 * 1024;
/** A client must take an answer within this, and a second more for each so many bytes. */
const PATIENCE_MS = 10_000, SLOWEST_BYTES_PER_S = 64 * 1024;
/** Where others wait for memory, a client has this share of the patience. */
const SHARE_UNDER_PRESSURE = 0.1;

interface Unsent {
  readonly sizeBytes: number;
  readonly sinceMs: number;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** An answer that is to be made once there is memory for it. */
interface Waiting {
  readonly sizeBytes: number;
  readonly go: () => void;
}

/** Sends pieces one after the other, each when the one before was taken. */
export function sendPieces(
  response: http.ServerResponse,
  pieces: Iterable<string>,
): void {
  const left = pieces[Symbol.iterator]();
  const more = () => {
    try {
      for (;;) {
        const { done, value } = left.next();
        if (done) return void response.end();
        if (!response.write(value)) return void response.once("drain", more);
      }
    } catch (error) {
      response.destroy(error as Error); // half of it is out: the client sees it cut off
    }
  };
  more();
}

/**
 * Bounds what large answers hold. Those that are to be made wait until others were taken.
 * Cuts off clients that ask and do not read: those that take too long, and much sooner
 * while somebody waits.
 */
export class UnsentAnswers {
  /** In the order in which they were sent. */
  readonly #unsent = new Map<http.ServerResponse, Unsent>();
  readonly #waiting: Waiting[] = [];
  #held = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Connections that were cut off. */
  cut = 0;

  constructor(public limitBytes: number, readonly patienceMs = PATIENCE_MS) {}

  /** Bytes of answers that are being made or wait to be taken. */
  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Sets memory aside for an answer, as soon as there is some.
   *
   * @param signal gives up waiting
   * @returns gives it back; to be called once
   * @throws {HttpError} 413 when it alone is too much
   */
  async take(sizeBytes: number, signal: AbortSignal): Promise<() => void> {
    if (sizeBytes < WATCHED_BYTES) return () => {};
    if (sizeBytes > this.limitBytes) {
      const message = "The answer would take more memory than there is for answers";
      throw new HttpError(413, "too_large", `${message}: ask for fewer texts at once`);
    }
    if (this.#waiting.length === 0 && this.#fits(sizeBytes)) this.#held += sizeBytes;
    else await this.#turn(sizeBytes, signal);
    return () => {
      this.#held -= sizeBytes;
      this.#next();
    };
  }

  #fits(sizeBytes: number): boolean {
    return this.#held + sizeBytes <= this.limitBytes;
  }

  #turn(sizeBytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      const waiting = { sizeBytes, go };
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
        this.#next();
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  /** Lets those who wait go on, and cuts off who keeps them waiting. */
  #next(): void {
    clearTimeout(this.#timer);
    const graceMs = this.patienceMs * SHARE_UNDER_PRESSURE;
    for (;;) {
      const [first] = this.#waiting;
      if (!first) return;
      if (this.#fits(first.sizeBytes)) {
        this.#waiting.shift();
        this.#held += first.sizeBytes;
        first.go();
        continue;
      }
      const [oldest] = this.#unsent;
      if (!oldest) return; // all are being made: their end is heard of
      const [response, { sinceMs }] = oldest;
      const leftMs = sinceMs + graceMs - performance.now();
      if (leftMs > 0) return void (this.#timer = setTimeout(() => this.#next(), leftMs));
      this.#cutOff(response);
    }
  }

  /**
   * Watches an answer until the kernel has all of it.
   * @param sizeBytes what it holds until then
   */
  watch(response: http.ServerResponse, sizeBytes: number): void {
    if (sizeBytes < WATCHED_BYTES) return;
    const waitMs = this.patienceMs + sizeBytes / SLOWEST_BYTES_PER_S * 1000;
    const timer = setTimeout(() => {
      this.#cutOff(response);
      this.#next();
    }, waitMs);
    this.#unsent.set(response, { sizeBytes, sinceMs: performance.now(), timer });
    this.#held += sizeBytes;
    const done = () => this.#forget(response) && this.#next();
    response.once("finish", done);
    response.once("close", done);
  }

  #cutOff(response: http.ServerResponse): void {
    this.cut++;
    this.#forget(response);
    response.destroy();
  }

  #forget(response: http.ServerResponse): boolean {
    const unsent = this.#unsent.get(response);
    if (!unsent) return false;
    this.#unsent.delete(response);
    clearTimeout(unsent.timer);
    this.#held -= unsent.sizeBytes;
    return true;
  }
}
