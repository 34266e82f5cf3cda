/** Long work in steps, so that it can share its thread with what must be answered soon. */

/**
 * The end of a step. A function says what is best done before the next one: something
 * that blocks, made elsewhere meanwhile. Who does all steps at once leaves it out.
 */
export type Step = void | (() => Promise<void>);
/** Work that can be left alone between two steps. */
export type Steps<T> = Generator<Step, T, void>;

/** How long others wait, and how they get their turn. */
export interface Slices {
  /** Steps go on for so long, then the others have their turn. */
  readonly sliceMs: number;
  readonly pause: () => Promise<void>;
}

const SLICE_MS = 4;

/** Short slices; a pause is one turn of the event loop, requests and timers included. */
export const SHORT_SLICES: Slices = {
  sliceMs: SLICE_MS,
  pause: () => new Promise((resolve) => setTimeout(resolve, 0)),
};

/** Does all of the work now. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Does the work slice by slice; it is ended in order when a pause fails. */
export async function inSlices<T>(
  steps: Steps<T>,
  { sliceMs, pause }: Slices = SHORT_SLICES,
): Promise<T> {
  try {
    for (let endMs = performance.now() + sliceMs;;) {
      const { done, value } = steps.next();
      if (done) return value;
      if (value) await value();
      else if (performance.now() < endMs) continue;
      else await pause();
      endMs = performance.now() + sliceMs;
    }
  } finally {
    steps.return(undefined as T); // nothing where it is over already
  }
}
