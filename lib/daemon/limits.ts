/** Limits of the service, and what refuses a request beyond them. */
import { OpError } from "../base/errors.ts";

/** What one service takes on. */
export interface Limits {
  /** Longest request body, bytes. */
  readonly bodyBytes: number;
  /** Most texts of one request. */
  readonly batchTexts: number;
  /** Requests that are worked on at once; the rest waits. */
  readonly concurrent: number;
  /** Requests that may wait; the rest is refused with 503. */
  readonly waiting: number;
  /** Requests per second over a few seconds, refused with 429 beyond; 0 for no limit. */
  readonly perSecond: number;
  /** A request's body must have arrived by then. */
  readonly bodyTimeoutMs: number;
  /** A request must be answered by then, waiting included. */
  readonly requestTimeoutMs: number;
  /** Open connections; what comes in on others is refused with 503. */
  readonly connections: number;
  /** Request bodies held at once, bytes, and as much again of answers not taken yet. */
  readonly heldBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  bodyBytes: 8 * 1024 * 1024,
  batchTexts: 2048,
  concurrent: 64,
  waiting: 1024,
  perSecond: 0,
  bodyTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  connections: 1024,
  heldBytes: 128 * 1024 * 1024,
};

/** Refused for now: 429 (too many from you) or 503 (too many for me). */
export class BusyError extends OpError {
  override readonly name = "BusyError";
  /** @param retryAfterS whole seconds that a client should wait */
  constructor(readonly status: 429 | 503, why: string, readonly retryAfterS: number) {
    super(status === 429 ? "rate_limited" : "overloaded", why, {
      hint: `try again in ${retryAfterS} s`,
    });
  }
}

/** Seconds of unused rate that a burst may take at once. */
const BURST_S = 2;

/** A token bucket: so many a second, with short bursts. */
export class RateLimit {
  #tokens: number;
  #lastMs: number;

  constructor(public perSecond: number, readonly nowMs: () => number = Date.now) {
    this.#tokens = perSecond * BURST_S;
    this.#lastMs = nowMs();
  }

  /** @throws {BusyError} 429 */
  take(): void {
    if (this.perSecond === 0) return;
    const now = this.nowMs();
    const gained = Math.max(0, now - this.#lastMs) / 1000 * this.perSecond;
    this.#tokens = Math.min(this.perSecond * BURST_S, this.#tokens + gained);
    this.#lastMs = now;
    if (this.#tokens < 1) {
      const waitS = Math.ceil((1 - this.#tokens) / this.perSecond);
      throw new BusyError(429, `Over ${this.perSecond} requests per second`, waitS);
    }
    this.#tokens--;
  }
}

/** So many at once, so many waiting, the rest refused. */
export class Turnstile {
  #inside = 0;
  readonly #waiting: (() => void)[] = [];

  /** Both may change while requests are inside: the next ones hear of it. */
  constructor(public concurrent: number, public waiting: number) {}

  get inside(): number {
    return this.#inside;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  /**
   * @param signal gives up the place in the queue
   * @returns to be called once when done
   * @throws {BusyError} 503 when the queue is full
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    if (this.#inside < this.concurrent) this.#inside++;
    else {
      if (this.#waiting.length >= this.waiting) {
        throw new BusyError(503, `${this.waiting} requests are waiting already`, 1);
      }
      signal.throwIfAborted();
      await this.#turn(signal);
    }
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#leave();
    };
  }

  /** Gives the place to the next in the queue, so that nobody slips in between. */
  #leave(): void {
    const next = this.#inside <= this.concurrent ? this.#waiting.shift() : undefined;
    if (next) next();
    else this.#inside--;
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", give);
        resolve();
      };
      const give = () => {
        const at = this.#waiting.indexOf(go);
        if (at !== -1) this.#waiting.splice(at, 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", give, { once: true });
      this.#waiting.push(go);
    });
  }
}

/** Bytes that all requests together may hold. */
export class ByteBudget {
  #held = 0;

  constructor(public limitBytes: number) {}

  get held(): number {
    return this.#held;
  }

  /** @throws {BusyError} 503 when they would be too many; then none are held */
  take(sizeBytes: number): void {
    if (this.#held + sizeBytes > this.limitBytes) {
      throw new BusyError(503, "Requests hold too much memory already", 1);
    }
    this.#held += sizeBytes;
  }

  give(sizeBytes: number): void {
    this.#held -= sizeBytes;
  }
}
