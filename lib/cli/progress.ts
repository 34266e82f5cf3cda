/** Progress bars: on a terminal only, and only for what takes over a second. */
import { formatSize } from "../base/units.ts";
import type { Output } from "./output.ts";

/** The part of cli-progress 3 that is used here; the package has no types of its own. */
interface SingleBar {
  start(total: number, value: number, payload: { rate: string }): void;
  setTotal(total: number): void;
  update(value: number, payload?: { rate: string }): void;
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
 * @param unit name of one unit, plural, e.g. `texts`; `bytes` are shown as sizes
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
  const began = performance.now();
  const rate = () => {
    const perSecond = done / Math.max(0.001, (performance.now() - began) / 1000);
    const amount = unit === "bytes" ? formatSize(perSecond) : `${Math.round(perSecond)}`;
    return { rate: `${amount}/s` };
  };
  // cli-progress is loaded only when a bar is due: most commands end before.
  const timer = setTimeout(async () => {
    const [{ default: { SingleBar } }, { default: process }] = await Promise.all([
      import("cli-progress"),
      import("node:process"),
    ]);
    if (stopped) return;
    const made: SingleBar = new SingleBar({
      format: formatOf(label, all, unit),
      ...(unit === "bytes" && { formatValue: sizes }),
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
    });
    made.start(all, done, rate());
    bar = made;
  }, APPEARS_AFTER_MS);
  return {
    update(now, newTotal) {
      done = now;
      if (newTotal !== undefined && newTotal !== all) bar?.setTotal(all = newTotal);
      bar?.update(done, rate());
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      bar?.stop();
    },
  };
}

/** Shorter pauses are nobody's concern. */
const TOLD_FROM_MS = 3000;

/** Says that a server is waited for, and why: it may ask for minutes. */
export function tellPauses(out: Output): (pauseMs: number, why: string) => void {
  return (pauseMs, why) => {
    if (pauseMs < TOLD_FROM_MS) return;
    out.note(`${why}; trying again in ${Math.round(pauseMs / 1000)} s`);
  };
}

function formatOf(label: string, total: number, unit: string): string {
  const shown = unit === "bytes" ? "" : ` ${unit}`;
  const rest = total > 0
    ? `{bar} {percentage}% | {value}/{total}${shown} | {rate} | {eta_formatted} left`
    : `{value}${shown} | {rate}`;
  return `${label} ${rest}`;
}

/** cli-progress asks for each number that it prints what it should look like. */
function sizes(value: number, _options: unknown, type: string): string {
  return type === "value" || type === "total" ? formatSize(value) : String(value);
}
