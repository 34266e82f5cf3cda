/** Answers that clients have not taken yet: bounded in bytes and in time. */
import type http from "node:http";

/** Smaller ones fit the kernel's buffers, or nearly: not worth watching each. */
const WATCHED_BYTES = 64 * 1024;
/** A client must take an answer within this, and a second more for each so many bytes. */
const PATIENCE_MS = 10_000, SLOWEST_BYTES_PER_S = 64 * 1024;

interface Unsent {
  readonly sizeBytes: number;
  readonly timer: ReturnType<typeof setTimeout>;
}

/**
 * Cuts off clients that ask and do not read: those that take too long, and the one that
 * has waited longest when all answers together are too much.
 */
export class UnsentAnswers {
  /** In the order in which they were sent. */
  readonly #unsent = new Map<http.ServerResponse, Unsent>();
  #held = 0;
  /** Connections that were cut off. */
  cut = 0;

  constructor(public limitBytes: number, readonly patienceMs = PATIENCE_MS) {}

  get heldBytes(): number {
    return this.#held;
  }

  /** Watches an answer from its `end` until the kernel has all of it. */
  watch(response: http.ServerResponse, sizeBytes: number): void {
    if (sizeBytes < WATCHED_BYTES) return;
    const waitMs = this.patienceMs + sizeBytes / SLOWEST_BYTES_PER_S * 1000;
    const timer = setTimeout(() => this.#cutOff(response), waitMs);
    this.#unsent.set(response, { sizeBytes, timer });
    this.#held += sizeBytes;
    const done = () => this.#forget(response);
    response.once("finish", done);
    response.once("close", done);
    for (const [oldest] of this.#unsent) {
      if (this.#held <= this.limitBytes) break;
      this.#cutOff(oldest);
    }
  }

  #cutOff(response: http.ServerResponse): void {
    this.cut++;
    this.#forget(response);
    response.destroy();
  }

  #forget(response: http.ServerResponse): void {
    const unsent = this.#unsent.get(response);
    if (!unsent) return;
    this.#unsent.delete(response);
    clearTimeout(unsent.timer);
    this.#held -= unsent.sizeBytes;
  }
}
