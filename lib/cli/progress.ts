/** Progress bars: on a terminal only, and only for what takes over a second. */
import type { Output } from "./output.ts";

/** The part of cli-progress 3 that is used here; the package has no types of its own. */
interface SingleBar {
  start(total: number, value: number): void;
  setTotal(total: number): void;
  update(value: number): void;
  stop(): void;
}

/** A bar that may never appear. */
export interface Progress {
  /** @param done units so far @param total units in all, where it changed */
  update(done: number, total?: number): void;
  stop(): void;
}

const APPEARS_AFTER_MS = 1000;

/**
 * A progress bar on standard error.
 *
 * @param label what is going on, e.g. `Embedding`
 * @param total units in all; 0 when unknown
 * @param unit name of one unit, plural, e.g. `texts`
 */
export function progressBar(
  out: Output,
  label: string,
  total: number,
  unit: string,
): Progress {
  if (!out.options.progress || out.options.quiet) {
    return { update: () => {}, stop: () => {} };
  }
  let bar: SingleBar | undefined;
  let done = 0, all = total, stopped = false;
  // cli-progress is loaded only when a bar is due: most commands end before.
  const timer = setTimeout(async () => {
    const [{ default: { SingleBar } }, { default: process }] = await Promise.all([
      import("cli-progress"),
      import("node:process"),
    ]);
    if (stopped) return;
    const rest = all > 0 ? "{percentage}% | {value}/{total}" : "{value}";
    const made: SingleBar = new SingleBar({
      format: `${label} ${all > 0 ? "{bar} " : ""}${rest} ${unit} | {eta_formatted} left`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
    });
    made.start(all, done);
    bar = made;
  }, APPEARS_AFTER_MS);
  return {
    update(now, newTotal) {
      done = now;
      if (newTotal !== undefined && newTotal !== all) bar?.setTotal(all = newTotal);
      bar?.update(done);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      bar?.stop();
    },
  };
}
