/** One stream for several takers, read once. */

/** Takes a stream to its end, or throws. */
export type Taker<T> = (chunks: AsyncIterable<Uint8Array>) => Promise<T>;

/**
 * Hands every chunk to every taker. The slowest sets the pace; one that fails is left out
 * and does not stop the others. When all have failed the source is ended early.
 *
 * @param chunks each valid until the next is asked for
 * @returns the outcome of each taker, in order
 */
export async function fanOut<T>(
  chunks: AsyncIterable<Uint8Array>,
  takers: readonly Taker<T>[],
): Promise<PromiseSettledResult<T>[]> {
  if (takers.length === 1) return await Promise.allSettled([takers[0]!(chunks)]);
  const lanes = takers.map(() => new Lane());
  const results = takers.map(async (take, i) => {
    try {
      return await take(lanes[i]!);
    } finally {
      lanes[i]!.leave();
    }
  });
  const settled = Promise.allSettled(results);
  try {
    for await (const chunk of chunks) {
      const copy = chunk.slice(); // a taker may still hold it when the next is asked for
      await Promise.all(lanes.map((lane) => lane.put(copy)));
      if (lanes.every((lane) => lane.left)) break;
    }
    lanes.forEach((lane) => lane.end());
  } catch (error) {
    lanes.forEach((lane) => lane.fail(error));
  }
  return await settled;
}

/** A channel of one chunk. */
class Lane implements AsyncIterable<Uint8Array> {
  left = false;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | null = null;
  #offered: { chunk: Uint8Array; taken: () => void } | null = null;
  #ended = false;
  #failure: { error: unknown } | null = null;

  /** Resolves once the chunk is taken, or nobody takes any more. */
  async put(chunk: Uint8Array): Promise<void> {
    if (this.left) return;
    if (this.#waiting) {
      this.#waiting.resolve({ value: chunk, done: false });
      this.#waiting = null;
      return;
    }
    await new Promise<void>((taken) => this.#offered = { chunk, taken });
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.resolve({ value: undefined, done: true });
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#waiting?.reject(error);
  }

  leave(): void {
    this.left = true;
    this.#offered?.taken();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => this.#next(),
      return: () => {
        this.leave();
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    const offered = this.#offered;
    if (offered) {
      this.#offered = null;
      offered.taken();
      return Promise.resolve({ value: offered.chunk, done: false });
    }
    if (this.#failure) return Promise.reject(this.#failure.error);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }
}
