/** The calls that make, change and delete a collection's entries, and bring them back. */
import { childPointer, type Json, sameValue } from "../../dbus/value.ts";
import type { MappedField, MappedState } from "../../plugin/mapping.ts";
import { buildCall, MissingBinding } from "../bindings.ts";
import { stateError } from "../document.ts";
import { type Change, isUnknown, unknown } from "../model.ts";
import { type Entry, OBJECT } from "./collection_read.ts";
import { change, type KindContext, requirePart, unknownChange } from "./kind.ts";

function bindings({ state }: KindContext, name: string, entry: Entry) {
  const object = entry[OBJECT];
  return {
    ...entry,
    ...(state.key !== undefined && { [state.key]: name }),
    key: name,
    ...(object !== undefined && { object }),
  };
}

/** Deletes an entry. Undone by making it again, as far as the service told its fields. */
export function deletion(context: KindContext, name: string, present: Entry): Change {
  if (isUnknown(present)) {
    return unknownChange(context, name, undefined, null, present);
  }
  const { fields, lost } = restorableEntry(context, present);
  const given = { ...defaultsOf(context.state), ...fields };
  const why = whyNotMade(context, name, given);
  const partly = lost.length > 0
    ? `made again without its ${lost.join(", ")}`
    : undefined;
  return change(context, {
    key: name,
    action: "delete",
    before: present,
    after: null,
    call: { part: "delete", bindings: bindings(context, name, present) },
    undo: why === null
      ? { part: "create", bindings: bindings(context, name, given) }
      : null,
    undoNote: why ?? partly,
    inverse: why === null ? { [name]: fields } : null,
  });
}

/** Of an entry's fields those that a state file can give back, and names of the others. */
export function restorableEntry(
  { state, plugin }: Pick<KindContext, "state" | "plugin">,
  entry: Entry,
): { fields: Entry; lost: string[] } {
  const kept: [string, Json][] = [], lost: string[] = [];
  for (const field of state.fields.values()) {
    const value = entry[field.name];
    if (field.create_only || field.name === state.key || value === undefined) continue;
    const canGive = field.write !== undefined || isInCreate(state, plugin, field);
    if (canGive && value !== null && !isUnknown(value)) kept.push([field.name, value]);
    else lost.push(field.name);
  }
  return { fields: Object.fromEntries(kept), lost };
}

function isInCreate(
  state: MappedState,
  plugin: KindContext["plugin"],
  { name }: MappedField,
): boolean {
  if (!state.create) return false;
  const args = plugin.mapping.methods.get(state.create.method ?? "")?.args ?? [];
  return Object.values(state.create.args).includes(`$${name}`) ||
    args.some((arg) => arg.name === name && !Object.hasOwn(state.create!.args, name));
}

function defaultsOf(state: MappedState): Entry {
  return Object.fromEntries(
    [...state.fields.values()].filter((field) => field.default !== undefined)
      .map((field) => [field.name, field.default as Json]),
  );
}

/** Why an entry cannot be made of these fields; null when it can. */
function whyNotMade(context: KindContext, name: string, given: Entry): string | null {
  const { state, plugin } = context;
  if (!state.create) return 'the mapping has no "create"';
  try {
    buildCall(plugin, state, "create", bindings(context, name, given));
    return null;
  } catch (error) {
    if (!(error instanceof MissingBinding)) throw error;
    return `making it needs "${error.binding}", which nothing tells`;
  }
}

/** An entry without where its object is. */
export function withoutObject(entry: Entry): Entry {
  return Object.fromEntries(Object.entries(entry).filter(([key]) => key !== OBJECT));
}

/** The calls that give an entry that is there the fields wanted. */
export function modifications(
  context: KindContext,
  name: string,
  wanted: Entry,
  present: Entry,
): Change[] {
  if (isUnknown(present)) {
    return [unknownChange(context, name, undefined, wanted, present)];
  }
  const changes: Change[] = [];
  for (const [fieldName, value] of Object.entries(withoutObject(wanted))) {
    const field = context.state.fields.get(fieldName)!;
    const found = present[fieldName] ?? null;
    if (field.create_only || sameValue(value, found)) continue;
    const part = `fields.${fieldName}`, bound = bindings(context, name, present);
    if (isUnknown(found)) {
      changes.push(unknownChange(context, name, fieldName, value, found));
    } else if (!field.write) {
      const why = `the service has no way to change ${fieldName} of an entry that exists`;
      changes.push(unknownChange(context, name, fieldName, value, unknown(why)));
    } else {
      changes.push(change(context, {
        key: name,
        item: fieldName,
        action: "modify",
        before: found,
        after: value,
        // By the field's own name as well: an argument of that name takes the new value.
        call: { part, bindings: { ...bound, value, [fieldName]: value } },
        undo: { part, bindings: { ...bound, value: found, [fieldName]: found } },
        inverse: { [name]: { [fieldName]: found } },
      }));
    }
  }
  return changes;
}

/** The calls that make an entry and give it the fields that its making does not take. */
export function creation(context: KindContext, name: string, wanted: Entry): Change[] {
  const { state, plugin, file } = context;
  const at = ["plugins", plugin.name, state.name, name].reduce(childPointer, "");
  requirePart(context, "create", at);
  const fields = withoutObject(wanted);
  const given: Entry = { ...defaultsOf(state), ...fields };
  const why = whyNotMade(context, name, given);
  if (why !== null) {
    const reason = unknown(`it is not there, and ${why}`);
    return [unknownChange(context, name, undefined, wanted, reason)];
  }
  const late: Change[] = [];
  for (const [fieldName, value] of Object.entries(fields)) {
    const field = state.fields.get(fieldName)!;
    if (field.create_only || isInCreate(state, plugin, field)) continue;
    if (!field.write) {
      const why = "can be given neither when it is created nor afterwards";
      throw stateError(file, childPointer(at, fieldName), why);
    }
    late.push(change(context, {
      key: name,
      item: fieldName,
      action: "modify",
      before: null,
      after: value,
      call: {
        part: `fields.${fieldName}`,
        bindings: { key: name, value, [fieldName]: value },
        late: name,
      },
      undo: null,
      inverse: { [name]: null },
    }));
  }
  const canUndo = state.delete !== undefined;
  const made = change(context, {
    key: name,
    action: "create",
    before: null,
    after: fields,
    call: { part: "create", bindings: bindings(context, name, given) },
    undo: canUndo
      ? { part: "delete", bindings: { key: name, [state.key!]: name }, late: name }
      : null,
    undoNote: canUndo ? undefined : 'the mapping has no "delete"',
    inverse: { [name]: null },
  });
  return [made, ...late];
}
