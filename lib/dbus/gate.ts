/** Lets a bounded number in at once, the rest in the order in which they came. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param limit how many may be inside */
  constructor(limit: number) {
    this.#free = limit;
  }

  /**
   * Waits for a place; dispose the result to leave.
   *
   * @throws the signal's reason when it aborts first
   */
  async enter(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let inside = true;
    return {
      [Symbol.dispose]: () => {
        if (!inside) return;
        inside = false;
        const next = this.#waiting.shift();
        // The place passes on without becoming free in between.
        if (next) next();
        else this.#free++;
      },
    };
  }

  #wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal!.reason);
      };
      this.#waiting.push(enter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }
}
