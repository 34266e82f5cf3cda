/**
 * Jobs on an interval, on record in `meta/schedule.json`, so that a run that was missed
 * while nothing served is caught up at once. Of several services on one root one is the
 * leader, by lock; another one takes over when it ends.
 */
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { writeDurably } from "../base/durable.ts";
import { asOpError, type OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { type Lock, tryLock } from "../base/lock.ts";

/** Something that is done every so often. */
export interface Job {
  readonly name: string;
  /** 0 or less: never. */
  readonly everyMs: number;
  run(signal: AbortSignal): Promise<void> | void;
}

/** What the scheduler tells. */
export interface JobState {
  readonly name: string;
  readonly everyMs: number;
  /** Null before the first run. */
  readonly lastMs: number | null;
  readonly error: string | null;
}

export interface SchedulerOptions {
  readonly now?: () => number;
  readonly onDone?: (job: string, tookMs: number) => void;
  readonly onError?: (job: string, error: OpError) => void;
}

const TICK_MS = 1000;
const FILE_LIMIT_BYTES = 64 * 1024;

/** Runs jobs, one at a time, while it leads. */
export class Scheduler implements Disposable {
  readonly #errors = new Map<string, string>();
  readonly #stop = new AbortController();
  #last: Record<string, number>;
  #leader: Lock | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> = Promise.resolve();
  #trouble = "";

  constructor(
    readonly layout: Layout,
    public jobs: readonly Job[],
    readonly options: SchedulerOptions = {},
  ) {
    this.#last = this.#read();
  }

  get #path(): string {
    return `${this.layout.meta}/schedule.json`;
  }

  get leading(): boolean {
    return this.#leader !== null;
  }

  states(): JobState[] {
    return this.jobs.map(({ name, everyMs }) => ({
      name,
      everyMs,
      lastMs: this.#last[name] ?? null,
      error: this.#errors.get(name) ?? null,
    }));
  }

  /** Looks for due jobs again and again. */
  start(): void {
    const tick = async () => {
      this.#running = this.runDue();
      await this.#running;
      if (!this.#stop.signal.aborted) this.#timer = setTimeout(tick, TICK_MS);
    };
    void tick();
  }

  /** Runs what is due now; nothing where another service leads. Never rejects. */
  async runDue(): Promise<void> {
    try {
      if (!this.#lead()) return;
    } catch (error) {
      // Out of files, or the root is away for now: the next tick looks again.
      this.#troubled(asOpError(error, "Cannot lead the schedule"));
      return;
    }
    this.#trouble = "";
    for (const job of this.jobs) {
      if (this.#stop.signal.aborted) return;
      const now = this.options.now?.() ?? Date.now();
      const last = this.#last[job.name];
      // A clock that went back makes a job due rather than never.
      const due = last === undefined || now - last >= job.everyMs || now < last;
      if (job.everyMs > 0 && due) await this.#run(job, now);
    }
  }

  async #run(job: Job, now: number): Promise<void> {
    const start = performance.now();
    try {
      await job.run(this.#stop.signal);
      this.#errors.delete(job.name);
      this.options.onDone?.(job.name, performance.now() - start);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const known = asOpError(error, `Cannot run ${job.name}`);
      this.#errors.set(job.name, known.message);
      this.options.onError?.(job.name, known);
    }
    this.#last[job.name] = now; // also after a failure: the next run is at its time
    this.#write();
  }

  /** Tells what keeps the schedule from being looked at, once. */
  #troubled(error: OpError): void {
    if (error.message !== this.#trouble) this.options.onError?.("schedule", error);
    this.#trouble = error.message;
  }

  #lead(): boolean {
    if (this.#leader) return true;
    this.#leader = tryLock(this.layout.lock("scheduler"));
    if (this.#leader) this.#last = this.#read();
    return this.#leader !== null;
  }

  #read(): Record<string, number> {
    try {
      const value = JSON.parse(readTextFile(this.#path, FILE_LIMIT_BYTES));
      const entries = Object.entries(value).filter(([, ms]) => typeof ms === "number");
      return Object.fromEntries(entries) as Record<string, number>;
    } catch (error) {
      if (isSysError(error, "ENOENT") || error instanceof SyntaxError) return {};
      throw error; // a damaged file only makes every job due
    }
  }

  #write(): void {
    try {
      writeDurably(this.#path, new TextEncoder().encode(JSON.stringify(this.#last)));
    } catch (error) {
      this.options.onError?.("schedule", asOpError(error, "Cannot note the schedule"));
    }
  }

  /** Asks the running job to stop and waits for it. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#stop.abort();
    this.#leader?.[Symbol.dispose]();
    this.#leader = null;
  }
}
