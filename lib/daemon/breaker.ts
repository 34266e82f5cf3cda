/** A circuit breaker: what failed a few times in a row is left alone for a while. */

const FAILURES_TO_OPEN = 3;
const OPEN_MS = 2_000;

/** Closed means: go on and try. */
export class Breaker {
  #failures = 0;
  #openUntilMs = 0;

  constructor(
    readonly openMs = OPEN_MS,
    readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** True when a call should be tried: also once after each pause. */
  get closed(): boolean {
    return this.nowMs() >= this.#openUntilMs;
  }

  success(): void {
    this.#failures = 0;
  }

  failure(): void {
    this.#failures++;
    // After a pause one more failure is enough to pause again.
    if (this.#failures >= FAILURES_TO_OPEN) {
      this.#openUntilMs = this.nowMs() + this.openMs;
    }
  }
}
