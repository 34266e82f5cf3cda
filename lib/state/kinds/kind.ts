/** What each kind of state (value, set, toggle, record, collection) knows to do. */
import { type Json, ValueError } from "../../dbus/value.ts";
import { checkValue } from "../../dbus/marshal.ts";
import type { MappedState } from "../../plugin/mapping.ts";
import { type Bindings, buildCall, MissingBinding, partOf } from "../bindings.ts";
import { stateError } from "../document.ts";
import { type Action, type Change, resourceId, type Unknown, unknown } from "../model.ts";
import type { StatePlugin } from "../plugins.ts";
import type { StateReader } from "../reader.ts";
import { OpError } from "../../base/errors.ts";

/** The state that is looked at. */
export interface KindContext {
  readonly plugin: StatePlugin;
  readonly state: MappedState;
  /** The state file's name, for messages. */
  readonly file: string;
}

/** One kind, for one resource: keyed states are taken apart before. */
export interface Kind {
  /** @throws {InputError} with the pointer of what is wrong */
  validate(context: KindContext, desired: Json, pointer: string): void;
  /** What is, in the form of a state file. */
  observe(
    context: KindContext,
    reader: StateReader,
    bindings: Bindings,
    desired: Json | undefined,
  ): Promise<Json>;
  /** Only what of `observed` decides the difference to `desired`: stale plans go by it. */
  relevant(context: KindContext, desired: Json, observed: Json): Json;
  diff(
    context: KindContext,
    bindings: Bindings,
    key: string | null,
    desired: Json,
    observed: Json,
  ): Change[];
}

/** A call by the mapping's part that makes it. */
export interface CallSpec {
  readonly part: string;
  readonly bindings: Bindings;
  /** A collection's entry that is made by the same plan. */
  readonly late?: string;
}

/** What {@link change} needs. */
export interface ChangeSpec {
  readonly key: string | null;
  /** More of the name: a set's item, an entry's field. */
  readonly item?: string;
  readonly action: Exclude<Action, "unknown">;
  readonly before: Json;
  readonly after: Json;
  readonly call: CallSpec;
  /** Null: another change's undoing undoes it, or `undoNote` says why nothing does. */
  readonly undo: CallSpec | null;
  readonly undoNote?: string | undefined;
  readonly inverse: Json;
}

/** A change with its calls. @throws {OpError} when the mapping leaves an argument open */
export function change(context: KindContext, spec: ChangeSpec): Change {
  const { plugin, state } = context;
  const build = (call: CallSpec) => {
    try {
      return buildCall(plugin, state, call.part, call.bindings, call.late);
    } catch (error) {
      if (!(error instanceof MissingBinding)) throw error;
      throw new OpError(
        "bad_mapping",
        `Cannot build ${call.part} of ${plugin.name}.${state.name}: ${error.message}`,
        { hint: `give it a value in ${plugin.mapping.file}, or in the state file` },
      );
    }
  };
  const write = partOf(state, spec.call.part);
  const method = plugin.mapping.methods.get(write.method ?? "");
  return {
    ...named(context, spec.key, spec.item),
    action: spec.action,
    before: spec.before,
    after: spec.after,
    call: build(spec.call),
    undo: spec.undo && build(spec.undo),
    undo_note: [spec.undoNote, write.undoNote ?? state.undoNote]
      .filter((note) => note !== undefined).join("; ") || null,
    safe: method?.safe ?? false,
    confirm: state.requiresConfirmation || !(method?.safe ?? false) ||
      (method?.requiresConfirmation ?? true),
    reason: null,
    inverse: spec.inverse,
  };
}

/** A change that cannot be planned, because what is there cannot be known. */
export function unknownChange(
  context: KindContext,
  key: string | null,
  item: string | undefined,
  after: Json,
  observed: Unknown,
  before: Json = { $unknown: observed.$unknown },
): Change {
  return {
    ...named(context, key, item),
    action: "unknown",
    before,
    after,
    call: null,
    undo: null,
    undo_note: null,
    safe: false,
    confirm: true,
    reason: observed.$unknown,
    inverse: null,
  };
}

function named({ plugin, state }: KindContext, key: string | null, item?: string) {
  const id = resourceId(plugin.name, state.name, key);
  return {
    id: item === undefined ? id : `${id}: ${item}`,
    plugin: plugin.name,
    state: state.name,
    key,
  };
}

/**
 * A difference that nothing in the mapping can make go away: what a query printed may
 * stand in a state file as it is, and a `verify` of it tells.
 */
export function fixedChange(
  context: KindContext,
  key: string | null,
  item: string | undefined,
  after: Json,
  before: Json,
): Change {
  const { plugin, state } = context;
  const reason = `${plugin.name}.${state.name} cannot be changed this way: ` +
    "its mapping has nothing for it";
  return unknownChange(context, key, item, after, unknown(reason), before);
}

/** Refuses a state that has no part to change it. @throws {InputError} */
export function requirePart(context: KindContext, part: string, pointer: string): void {
  const { state, plugin, file } = context;
  if (state[part as "write"]) return;
  const why = `${plugin.name}.${state.name} cannot be ${
    part === "write" ? "changed" : `changed this way (no "${part}")`
  }: its mapping has nothing for it`;
  throw stateError(file, pointer, why);
}

/** Checks a value by its D-Bus type, where that is known. @throws {InputError} */
export function checkType(
  context: KindContext,
  type: string | undefined,
  value: Json,
  pointer: string,
): void {
  if (value === null) throw stateError(context.file, pointer, "null is no value");
  if (type === undefined) return;
  try {
    checkValue(type, value, pointer);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw stateError(context.file, error.pointer, error.why);
  }
}
