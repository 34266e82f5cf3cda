/**
 * Applying: plan, ask, checkpoint, call, read again to verify; on failure undo in reverse.
 */
import { asOpError, InterruptedError, OpError, RolledBackError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { acquireLock, type Lock } from "../base/lock.ts";
import type { RecordedAction } from "../base/recorder.ts";
import { makeFolders } from "../base/root.ts";
import type { Json } from "../dbus/value.ts";
import type { Buses } from "./buses.ts";
import { hashJson } from "./canonical.ts";
import { removeCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { awaitConfirmation } from "./confirm.ts";
import { type CurrentState, writeCurrent } from "./current.ts";
import {
  describeUndo,
  execute,
  type Executor,
  undo,
  type UndoResult,
} from "./execute.ts";
import { objectsLinger } from "./gone.ts";
import { inverseOf } from "./inverse.ts";
import {
  clearJournal,
  type Journal,
  offerConfirmation,
  readJournal,
  requireSettled,
  writeJournal,
} from "./journal.ts";
import type { Change, Desired, Plan } from "./model.ts";
import { observe } from "./observe.ts";
import { makePlan, preparePlugins, refuseUnknown, validateDesired } from "./plan.ts";
import type { StatePlugin } from "./plugins.ts";
import { forgetQueries } from "./query_cache.ts";

/** What applying needs. */
export interface ApplyOptions {
  readonly layout: Layout;
  /** All that can be used, in dependency order. */
  readonly plugins: readonly StatePlugin[];
  /** Why others cannot be used, by name. */
  readonly unusable?: ReadonlyMap<string, string>;
  readonly buses: Buses;
  /** Where the wanted state comes from, for messages. */
  readonly file: string;
  /** Leaves out what needs a person's yes. */
  readonly onlySafe?: boolean;
  /** Plans only: calls nothing that is not a read. */
  readonly dryRun?: boolean;
  /**
   * Asks for the changes that need it; true when a person had to be asked.
   * @throws {ConfirmationError} when the answer is no or nobody can answer
   */
  readonly confirm: (plan: Plan, asking: readonly Change[]) => Promise<boolean>;
  /** Told before each call. */
  readonly progress?: (done: number, total: number, change: Change) => void;
  readonly recorder?: StateRecorder;
  /** Ctrl-C: the call under way is finished, then everything is undone. */
  readonly signal?: AbortSignal;
  /** Reverts unless {@link confirmPending} is called in time. */
  readonly confirmWithinMs?: number;
  /** Told when the changes are made and wait to be confirmed. */
  readonly awaiting?: (checkpoint: string, until: Date) => void;
  /** How long to wait for another apply's lock; default not at all. */
  readonly waitMs?: number;
  /** `apply`, or `rollback`: may go on over what an earlier apply left. */
  readonly action?: "apply" | "rollback";
}

/** Takes note of a change, and of the whole desired state after it. */
export interface StateRecorder {
  /** @throws {OpError} when the note cannot be made durable */
  record(action: RecordedAction, state: CurrentState): Promise<void>;
}

/** What came of it. */
export interface ApplyResult {
  readonly plan: Plan;
  /** Ids of the changes made; all of them, or it throws. */
  readonly applied: readonly string[];
  /** Left out by `onlySafe` or `dryRun`. */
  readonly skipped: readonly string[];
  /** Null when nothing was to be done. */
  readonly checkpoint: string | null;
  readonly confirmed: boolean | null;
}

/** How often what was changed is read again before it counts as not done. */
const VERIFY_TRIES = 6;
const VERIFY_FIRST_WAIT_MS = 50;

/**
 * Makes the host match.
 *
 * @param wanted a state document, or a plan saved before
 * @throws {InputError} a document that is wrong
 * @throws {OpError} `stale_plan`, `unknown_state`, or the first call's failure
 * @throws {RolledBackError} something failed after a change was made
 * @throws {InterruptedError} stopped; says what was undone
 * @throws {LockedError} another apply is under way
 */
export async function apply(
  wanted: { readonly desired: Desired } | { readonly plan: Plan },
  options: ApplyOptions,
): Promise<ApplyResult> {
  const { buses, file } = options;
  const desired = "plan" in wanted ? wanted.plan.desired : wanted.desired;
  const saved = "plan" in wanted ? wanted.plan : null;
  // Before any bus is opened: a wrong document costs nothing.
  validateDesired(options, desired, file);
  const plugins = await preparePlugins(options.plugins, desired, buses);
  const executor: Executor = { plugins, buses };
  if (options.dryRun) {
    const plan = await planNow(executor, desired, options, saved);
    return result(plan, [], plan.changes);
  }
  using _lock = await takeLock(options);
  if (options.action !== "rollback") requireSettled(options.layout);
  // What a crash left stays to be told until a rollback has brought it back.
  const left = readJournal(options.layout);
  const plan = await planNow(executor, desired, options, saved);
  // A rollback brings back what it can; what it cannot stays among those left out.
  if (options.action !== "rollback") refuseUnknown(plan);
  const chosen = plan.changes.filter(({ action, confirm }) =>
    action !== "unknown" && !(options.onlySafe && confirm)
  );
  const skipped = plan.changes.filter((change) => !chosen.includes(change));
  const asking = chosen.filter(({ confirm }) => confirm);
  const asked = asking.length > 0 && await options.confirm(plan, asking);
  options.signal?.throwIfAborted();
  // People take their time; what they agreed to must still be what is done.
  if (asked) await planNow(executor, desired, options, plan);
  if (chosen.length === 0) {
    if (skipped.every(({ action }) => action === "unknown")) clearJournal(options.layout);
    return result(plan, [], skipped);
  }
  return await new Run(executor, desired, plan, chosen, left, options).run(skipped);
}

function result(
  plan: Plan,
  applied: readonly Change[],
  skipped: readonly Change[],
): ApplyResult {
  const ids = (changes: readonly Change[]) => changes.map(({ id }) => id);
  const none = { checkpoint: null, confirmed: null };
  return { plan, applied: ids(applied), skipped: ids(skipped), ...none };
}

/** The lock that all of desired state is changed under. */
async function takeLock({ layout, waitMs, signal }: ApplyOptions): Promise<Lock> {
  makeFolders(layout.meta);
  return await acquireLock(layout.lock("state"), {
    ...(waitMs !== undefined && { waitMs }),
    ...(signal && { signal }),
  });
}

async function planNow(
  { plugins, buses }: Executor,
  desired: Desired,
  { signal, file }: ApplyOptions,
  saved: Plan | null,
): Promise<Plan> {
  const observed = await observe(plugins, buses, { desired, ...(signal && { signal }) });
  const plan = makePlan(plugins, desired, observed, file);
  if (!saved) return plan;
  // The calls are planned anew, never taken from the file; they must be those it showed.
  const changed = saved.observed_hash !== plan.observed_hash
    ? "what is there"
    : hashJson(saved.changes as unknown as Json) !==
        hashJson(plan.changes as unknown as Json)
    ? "what would be called (the plugin, or the plan itself)"
    : null;
  if (changed === null) return plan;
  throw new OpError(
    "stale_plan",
    `Cannot apply ${file}: ${changed} has changed since the plan was made ` +
      `(${saved.created})`,
    { hint: "make a new one: op-dbus diff STATE.json --output plan.json" },
  );
}

/** The changes that cannot be undone, or not exactly, each with the reason. */
function notExact(changes: readonly Change[]): string[] {
  return changes.flatMap(({ id, undo_note }) =>
    undo_note === null ? [] : [`${id}: ${undo_note}`]
  );
}

/** One run of a plan's calls. */
class Run {
  readonly #made: Change[] = [];
  #checkpoint = "";

  constructor(
    private readonly executor: Executor,
    private readonly desired: Desired,
    private readonly plan: Plan,
    private readonly chosen: readonly Change[],
    private readonly left: Journal | null,
    private readonly options: ApplyOptions,
  ) {}

  async run(skipped: readonly Change[]): Promise<ApplyResult> {
    const { layout, action = "apply" } = this.options;
    const inverse = inverseOf(this.executor.plugins, this.chosen);
    this.#checkpoint = writeCheckpoint(layout, {
      reason: action,
      plugins: inverse,
      left_out: notExact(this.chosen),
    }).id;
    writeJournal(layout, this.#journal(null));
    try {
      for (const [i, change] of this.chosen.entries()) {
        this.options.progress?.(i, this.chosen.length, change);
        await this.#make(change);
        if (this.options.signal?.aborted) throw await this.#interrupted();
      }
      await this.#verify();
      const confirmed = await this.#confirmed();
      await this.#note(inverse);
      const made = result(this.plan, this.chosen, skipped);
      return { ...made, checkpoint: this.#checkpoint, confirmed };
    } finally {
      for (const plugin of this.executor.plugins) forgetQueries(layout, plugin.name);
    }
  }

  #journal(confirmUntil: Date | null): Journal {
    return {
      checkpoint: this.#back,
      pid: Deno.pid,
      started: new Date().toISOString(),
      changes: this.chosen.map(({ id }) => id),
      confirm_until: confirmUntil?.toISOString() ?? null,
    };
  }

  /** What a rollback must go back to; to an older one it undoes this one's changes too. */
  get #back(): string {
    return this.left?.checkpoint ?? this.#checkpoint;
  }

  /** All is as it was before this run: its checkpoint brings nothing back. */
  #asBefore(): void {
    const { layout } = this.options;
    if (this.left) writeJournal(layout, this.left);
    else clearJournal(layout);
    removeCheckpoint(layout, this.#checkpoint);
  }

  async #make(change: Change): Promise<void> {
    const outcome = await execute(this.executor, change, change.call!);
    if (outcome.kind !== "failed") {
      // "Already" was somebody else's doing; undoing it is not ours.
      if (outcome.kind === "done") this.#made.push(change);
      return;
    }
    const { error, uncertain } = outcome;
    const took = uncertain && await this.#tookEffect(change);
    if (took) this.#made.push(change);
    const later = uncertain && !took ? " (the service may still do it later)" : "";
    throw await this.#failed(`${change.id}: ${error.message}${later}`, error);
  }

  /** Whether a call that gave no answer did its work; true where that cannot be known. */
  async #tookEffect(change: Change): Promise<boolean> {
    try {
      const now = await this.#replan();
      return !now.changes.some(({ id }) => id === change.id);
    } catch (error) {
      if (error instanceof OpError) return true;
      throw error;
    }
  }

  async #replan(): Promise<Plan> {
    const { plugins, buses } = this.executor;
    const observed = await observe(plugins, buses, { desired: this.desired });
    return makePlan(plugins, this.desired, observed, this.options.file);
  }

  /** Reads again until nothing that was changed differs; services may take a moment. */
  async #verify(): Promise<void> {
    const ids = new Set(this.chosen.map(({ id }) => id));
    let differing: readonly Change[] = [];
    for (let n = 0; n < VERIFY_TRIES; n++) {
      if (n > 0) await sleep(VERIFY_FIRST_WAIT_MS * 2 ** (n - 1));
      let now: Plan;
      try {
        now = await this.#replan();
      } catch (error) {
        if (!(error instanceof OpError)) throw error;
        throw await this.#failed(`cannot verify: ${error.message}`, error);
      }
      differing = now.changes.filter(({ id }) => ids.has(id));
      if (differing.length > 0) continue;
      if (!(await objectsLinger(this.executor, this.chosen))) return;
    }
    if (differing.length === 0) return; // an object that stays does no harm by itself
    const names = differing.map(({ id }) => id).join(", ");
    throw await this.#failed(`the calls succeeded, but this is not as wanted: ${names}`);
  }

  async #confirmed(): Promise<boolean | null> {
    const { confirmWithinMs, awaiting, layout, signal } = this.options;
    if (confirmWithinMs === undefined) return null;
    const until = new Date(Date.now() + confirmWithinMs);
    offerConfirmation(layout, this.#journal(until));
    awaiting?.(this.#checkpoint, until);
    const answer = await awaitConfirmation(layout, this.#checkpoint, until, signal);
    if (answer === "confirmed") return true;
    if (answer === "interrupted") throw await this.#interrupted();
    throw await this.#failed(`nobody confirmed by ${until.toISOString()}`);
  }

  async #note(inverse: Desired): Promise<void> {
    const { layout, recorder, action = "apply" } = this.options;
    const state = writeCurrent(layout, this.executor.plugins, this.desired);
    // Settled: a chain that cannot be written makes no apply unfinished.
    clearJournal(layout);
    const note = {
      category: "state",
      action,
      subject: [...new Set(this.chosen.map(({ plugin }) => plugin))].join(", "),
      data: {
        checkpoint: this.#checkpoint,
        desired_hash: this.plan.desired_hash,
        changes: this.chosen.map(({ id, action, before, after }) => ({
          id,
          action,
          before,
          after,
        })),
        inverse,
        left_out: notExact(this.chosen),
      },
    };
    try {
      await recorder?.record(note, state);
    } catch (error) {
      const known = asOpError(error);
      // All of it stays done: only who reads the chain does not see it.
      const message = `Everything was applied, but not noted in the audit chain: ` +
        known.message;
      throw new OpError(known.code, message, {
        cause: error,
        hint: `undo it with: op-dbus rollback --to-checkpoint ${this.#checkpoint}`,
      });
    }
  }

  /** Undoes what was made, and gives the error that says so. */
  async #failed(why: string, cause?: OpError): Promise<OpError> {
    if (this.#made.length === 0) {
      this.#asBefore();
      const message = `Cannot apply ${why}; nothing was changed`;
      return new OpError(cause?.code ?? "apply_failed", message, {
        cause,
        ...(cause?.hint && { hint: cause.hint }),
      });
    }
    const undone = await this.#undo();
    const how = describeUndo(undone);
    return new RolledBackError("rolled_back", `Cannot apply ${why}; ${how.message}`, {
      cause,
      ...how.hint(this.#back),
    });
  }

  async #interrupted(): Promise<OpError> {
    const undone = await this.#undo();
    const how = describeUndo(undone);
    const hint = how.hint(this.#back);
    return new InterruptedError("interrupted", `Stopped; ${how.message}`, hint);
  }

  async #undo(): Promise<UndoResult> {
    const undone = await undo(this.executor, this.#made);
    // What is left stays in the journal: the next command tells how to bring it back.
    if (undone.left.length === 0) this.#asBefore();
    return undone;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
