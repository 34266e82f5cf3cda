/** Chunks at a bounded rate, counted as they pass. */

/** How to let chunks pass. */
export interface PaceOptions {
  /** Bytes per second; absent or 0: as fast as they go. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  /** Bytes that have passed; 0 before the first, which nobody may take for long. */
  readonly progress?: (bytes: number) => void;
}

/** What may pass at once after a pause, in seconds' worth of the limit. */
const BURST_S = 0.25;

/** Passes chunks on, waiting where they come faster than the limit. */
export async function* paced(
  chunks: AsyncIterable<Uint8Array>,
  options: PaceOptions,
): AsyncGenerator<Uint8Array, void> {
  const { limit, signal, progress } = options;
  let passed = 0, due = performance.now();
  progress?.(0);
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    yield chunk;
    passed += chunk.length;
    progress?.(passed);
    if (!limit) continue;
    due = Math.max(due, performance.now() - BURST_S * 1000) +
      (chunk.length / limit) * 1000;
    await pause(due - performance.now(), signal);
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted(); // an abort before now would not be heard below
  if (ms <= 0) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
  signal?.throwIfAborted();
}
