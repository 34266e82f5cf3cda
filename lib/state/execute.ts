/** Making a plan's calls, and undoing them. */
import { OpError } from "../base/errors.ts";
import { BusError } from "../dbus/bus_error.ts";
import { sameValue, ValueError } from "../dbus/value.ts";
import { type Bindings, buildCall, MissingBinding } from "./bindings.ts";
import type { Buses } from "./buses.ts";
import { diffState, observeState } from "./kinds/kinds.ts";
import { type Change, isUnknown, type PlannedCall } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";
import { StateReader } from "./reader.ts";

/** How a call ended. */
export type CallOutcome =
  | { readonly kind: "done" }
  /** The service says that it was so already. */
  | { readonly kind: "already" }
  /** `uncertain`: no answer came, so it may have been done. */
  | { readonly kind: "failed"; readonly error: OpError; readonly uncertain: boolean };

/** What making calls needs. */
export interface Executor {
  readonly plugins: readonly StatePlugin[];
  readonly buses: Buses;
}

/** Failures that say nothing of whether the service did it. */
const UNCERTAIN = ["dbus_timeout", "dbus_closed", "dbus_bad_reply"];

/** Makes one call of a change. Never aborted half-way: what is begun is known to be done. */
export async function execute(
  executor: Executor,
  change: Change,
  planned: PlannedCall,
): Promise<CallOutcome> {
  try {
    const call = planned.late ? await resolveLate(executor, change, planned) : planned;
    if (call === null) return { kind: "already" };
    const bus = await executor.buses.get(call.bus);
    await bus.call(
      {
        destination: call.destination,
        path: call.path,
        interface: call.interface,
        member: call.member,
        signature: call.signature,
        args: call.args,
      },
      { ...(call.timeout_ms !== null && { timeoutMs: call.timeout_ms }) },
    );
    return { kind: "done" };
  } catch (error) {
    if (error instanceof BusError) {
      if (isOk(error, planned.ok_errors)) return { kind: "already" };
      return { kind: "failed", error, uncertain: UNCERTAIN.includes(error.code) };
    }
    if (error instanceof OpError || error instanceof ValueError) {
      return { kind: "failed", error, uncertain: false };
    }
    throw error;
  }
}

/** True for an error that the mapping calls success: by its name or its first word. */
export function isOk(error: BusError, okErrors: readonly string[]): boolean {
  const [firstWord] = error.detail.split(/[\s:]/, 1);
  return okErrors.some((ok) =>
    error.dbusName === ok || error.dbusName.endsWith(`.${ok}`) || firstWord === ok
  );
}

/**
 * The call of an entry that an earlier call has made: what it needs is read now. Null when
 * the new entry has the field's value already: services refuse to set some defaults.
 */
async function resolveLate(
  { plugins, buses }: Executor,
  change: Change,
  planned: PlannedCall,
): Promise<PlannedCall | null> {
  const { part, key, bindings } = planned.late!;
  const plugin = plugins.find(({ name }) => name === change.plugin)!;
  const state = plugin.mapping.states.get(change.state)!;
  const bus = await buses.get(plugin.mapping.service.bus);
  const context = { plugin, state, file: "" };
  const entries = await observeState(context, new StateReader(plugin, bus), {
    [key]: {},
  });
  const entry = isUnknown(entries)
    ? undefined
    : (entries as { [name: string]: Bindings })[key];
  if (!entry) {
    throw new OpError("not_there", `Cannot find ${change.state} ${key} after making it`, {
      hint: "the service may need longer; apply again",
    });
  }
  const { $object: object, ...fields } = entry;
  const field = /^fields\.(.*)$/.exec(part)?.[1];
  if (field !== undefined && Object.hasOwn(fields, field)) {
    if (sameValue(change.after, fields[field]!)) return null;
  }
  const bound = { ...fields, ...bindings, ...(object !== undefined && { object }) };
  try {
    return buildCall(plugin, state, part, bound);
  } catch (error) {
    if (!(error instanceof MissingBinding)) throw error;
    throw new OpError("bad_mapping", `Cannot build ${part} of ${key}: ${error.message}`, {
      hint: `correct ${plugin.mapping.file}`,
    });
  }
}

/** What undoing left. */
export interface UndoResult {
  readonly undone: readonly string[];
  /** Names of what could not be undone, each with the reason. */
  readonly left: readonly { readonly id: string; readonly why: string }[];
}

/**
 * Makes a deleted entry of a collection again and gives it the fields that its making does
 * not take. One that is still there is not made twice: a call may lie.
 *
 * @returns what is not as it was; null when nothing is missing
 */
async function makeAgain(executor: Executor, change: Change): Promise<string | null> {
  const plugin = executor.plugins.find(({ name }) => name === change.plugin)!;
  const state = plugin.mapping.states.get(change.state)!;
  const context = { plugin, state, file: "" };
  const bus = await executor.buses.get(plugin.mapping.service.bus);
  const look = async () =>
    diffState(
      context,
      change.inverse,
      await observeState(context, new StateReader(plugin, bus)),
    );
  if ((await look()).some(({ action }) => action === "create")) {
    const outcome = await execute(executor, change, change.undo!);
    if (outcome.kind === "failed") return outcome.error.message;
  }
  const reasons: string[] = [];
  for (const rest of await look()) {
    const outcome = rest.call && await execute(executor, rest, rest.call);
    if (!outcome) reasons.push(`${rest.id}: ${rest.reason}`);
    else if (outcome.kind === "failed") reasons.push(outcome.error.message);
  }
  if (reasons.length === 0) return null;
  return `it was made again, but not as it was: ${reasons.join("; ")}`;
}

function isCollection({ plugins }: Executor, { plugin, state }: Change): boolean {
  const mapped = plugins.find(({ name }) => name === plugin)?.mapping.states.get(state);
  return mapped?.kind === "collection";
}

/** Undoes one change. @returns why it could not; null when it could */
async function undoOne(executor: Executor, change: Change): Promise<string | null> {
  if (change.action === "delete" && isCollection(executor, change)) {
    try {
      return await makeAgain(executor, change);
    } catch (error) {
      if (error instanceof OpError) return error.message;
      throw error;
    }
  }
  const outcome = await execute(executor, change, change.undo!);
  return outcome.kind === "failed" ? outcome.error.message : null;
}

/** Undoes changes, the last first. Goes on past what cannot be undone. */
export async function undo(
  executor: Executor,
  made: readonly Change[],
): Promise<UndoResult> {
  const undone: string[] = [], left: { id: string; why: string }[] = [];
  const created = new Set(
    made.filter(({ action, undo }) => action === "create" && undo?.late)
      .map(({ plugin, state, key }) => JSON.stringify([plugin, state, key])),
  );
  for (const change of made.toReversed()) {
    const { id, plugin, state, key } = change;
    if (!change.undo) {
      // A part of an entry goes with the entry.
      const goesAlong = created.has(JSON.stringify([plugin, state, key]));
      if (!goesAlong) left.push({ id, why: change.undo_note ?? "nothing undoes it" });
      else undone.push(id);
      continue;
    }
    const why = await undoOne(executor, change);
    if (why === null) undone.push(id);
    else left.push({ id, why });
  }
  return { undone, left };
}

/** What undoing came to, in words, and what to do about it. */
export function describeUndo({ undone, left }: UndoResult) {
  const count = `${undone.length} of ${undone.length + left.length} changes undone`;
  const names = left.map(({ id, why }) => `${id} (${why})`).join("; ");
  return {
    message: left.length === 0 ? count : `${count}, NOT undone: ${names}`,
    hint: (checkpoint: string) =>
      left.length === 0
        ? { hint: "what was there before is there again" }
        : { hint: `try again with: op-dbus rollback --to-checkpoint ${checkpoint}` },
  };
}
