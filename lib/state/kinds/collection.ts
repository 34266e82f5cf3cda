/**
 * `kind = "collection"`: entries with names, made and deleted by the service: users,
 * images, containers. A state file gives `{"<name>": {fields}}`; `null` means that the
 * entry must not be there. Entries that it does not name stay, unless `exclusive = true`.
 */
import { BusError } from "../../dbus/bus_error.ts";
import { childPointer, isObject, type Json, plain, sameValue } from "../../dbus/value.ts";
import type { MappedField } from "../../plugin/mapping.ts";
import { valueType } from "../bindings.ts";
import { stateError } from "../document.ts";
import { type Change, isUnknown, unknown } from "../model.ts";
import type { StateReader } from "../reader.ts";
import {
  change,
  checkType,
  type Kind,
  type KindContext,
  requirePart,
  unknownChange,
} from "./kind.ts";

type Entry = { readonly [field: string]: Json };
type Entries = { readonly [name: string]: Entry | null };
/** Where an entry's object path is kept; not a field. */
const OBJECT = "$object";
const NOT_UNDONE = "what the service deletes it cannot bring back";

function fieldType(context: KindContext, field: MappedField): string | undefined {
  const { mapping } = context.plugin;
  return field.type ??
    (field.write ? valueType(mapping, field.write, undefined) : undefined) ??
    valueType(mapping, context.state.create, field.name);
}

export const collection: Kind = {
  validate(context, desired, pointer) {
    if (!isObject(desired)) {
      throw stateError(context.file, pointer, "expected an object of entries by name");
    }
    if (context.state.exclusive) requirePart(context, "delete", pointer);
    for (const [name, entry] of Object.entries(desired)) {
      const at = childPointer(pointer, name);
      if (name === "") throw stateError(context.file, at, "a name is empty");
      if (entry === null) requirePart(context, "delete", at);
      else if (!isObject(entry)) {
        throw stateError(context.file, at, "expected an object, or null to delete it");
      } else validateEntry(context, entry, at);
    }
  },
  async observe(context, reader) {
    const found = await reader.read(context.state.list!, {});
    if (isUnknown(found)) return found;
    if (!Array.isArray(found)) {
      return unknown(`expected a list, the service says ${JSON.stringify(found)}`);
    }
    return context.state.objectInterface === undefined
      ? rows(context, found)
      : await objects(context, reader, found);
  },
  relevant({ state }, desired, observed) {
    if (isUnknown(observed)) return observed;
    const wanted = desired as Entries, found = observed as Entries;
    const fields = (name: string): Json => {
      const entry = found[name];
      if (!entry) return null;
      const names = Object.keys(wanted[name] ?? {});
      return Object.fromEntries(names.map((field) => [field, entry[field] ?? null]));
    };
    return {
      entries: Object.fromEntries(
        Object.keys(wanted).map((name) => [name, fields(name)]),
      ),
      ...(state.exclusive && { names: Object.keys(found).sort() }),
    };
  },
  diff(context, _bindings, _key, desired, observed) {
    if (isUnknown(observed)) {
      return [unknownChange(context, null, undefined, desired, observed)];
    }
    const wanted = desired as Entries, found = observed as Entries;
    const changes: Change[] = [];
    for (const [name, entry] of Object.entries(wanted)) {
      const present = Object.hasOwn(found, name) ? found[name]! : null;
      if (entry === null) {
        if (present) changes.push(deletion(context, name, present));
      } else if (present) changes.push(...modifications(context, name, entry, present));
      else changes.push(...creation(context, name, entry));
    }
    if (context.state.exclusive) {
      for (const [name, entry] of Object.entries(found)) {
        if (!Object.hasOwn(wanted, name)) changes.push(deletion(context, name, entry!));
      }
    }
    return changes;
  },
};

function validateEntry(context: KindContext, entry: Entry, pointer: string): void {
  const { state, file } = context;
  for (const [name, value] of Object.entries(entry)) {
    // What a query printed may be applied as it is.
    if (name === OBJECT) continue;
    const at = childPointer(pointer, name);
    const field = state.fields.get(name);
    if (!field) {
      const known = [...state.fields.keys()].join(", ") || "no fields";
      throw stateError(file, at, `is unknown; ${state.name} has: ${known}`);
    }
    checkType(context, fieldType(context, field), value, at);
  }
}

function rows({ state }: KindContext, list: readonly Json[]): Json {
  const entries: [string, Entry][] = [];
  for (const row of list.map(plain)) {
    const values = Array.isArray(row) ? row : [row];
    const byColumn = Object.fromEntries(
      state.columns.map((column, i) => [column, values[i] ?? null]),
    );
    const name = byColumn[state.fields.get(state.key!)?.column ?? state.key!];
    if (name === undefined || name === null) {
      return unknown(`a row has no column "${state.key}"`);
    }
    const fields = [...state.fields.values()].filter((field) => !field.create_only)
      .map((field) => [field.name, byColumn[field.column!] ?? null] as const);
    entries.push([String(name), Object.fromEntries(fields)]);
  }
  return Object.fromEntries(entries);
}

async function objects(
  context: KindContext,
  reader: StateReader,
  paths: readonly Json[],
): Promise<Json> {
  const { state } = context;
  const entries = await Promise.all(paths.map(async (path) => {
    const all = await reader.properties(String(path), state.objectInterface!);
    // It went away between the list and now: not there.
    if (all instanceof BusError && all.code === "dbus_unknown") return null;
    if (all instanceof BusError) return unknown(all.message);
    const keyProperty = state.fields.get(state.key!)?.property ?? state.key!;
    const name = all[keyProperty];
    if (name === undefined) return unknown(`an object has no property ${keyProperty}`);
    const fields = [...state.fields.values()].filter((field) => !field.create_only)
      .map((field) => [
        field.name,
        plain(all[field.property!] ?? unknown(`no property ${field.property}`)),
      ]);
    return [String(name), { [OBJECT]: path, ...Object.fromEntries(fields) }] as const;
  }));
  const broken = entries.find((entry) => entry !== null && !Array.isArray(entry));
  if (broken) return broken as Json;
  return Object.fromEntries(
    entries.filter((entry) => entry !== null) as [string, Entry][],
  );
}

function bindings({ state }: KindContext, name: string, entry: Entry) {
  const object = entry[OBJECT];
  return {
    ...entry,
    ...(state.key !== undefined && { [state.key]: name }),
    key: name,
    ...(object !== undefined && { object }),
  };
}

function deletion(context: KindContext, name: string, present: Entry): Change {
  return change(context, {
    key: name,
    action: "delete",
    before: present,
    after: null,
    call: { part: "delete", bindings: bindings(context, name, present) },
    undo: null,
    undoNote: NOT_UNDONE,
    inverse: { [name]: withoutObject(present) },
  });
}

function withoutObject(entry: Entry): Entry {
  return Object.fromEntries(Object.entries(entry).filter(([key]) => key !== OBJECT));
}

function modifications(
  context: KindContext,
  name: string,
  wanted: Entry,
  present: Entry,
): Change[] {
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
        call: { part, bindings: { ...bound, value } },
        undo: { part, bindings: { ...bound, value: found } },
        inverse: { [name]: { [fieldName]: found } },
      }));
    }
  }
  return changes;
}

function creation(context: KindContext, name: string, wanted: Entry): Change[] {
  const { state, plugin, file } = context;
  requirePart(context, "create", childPointer(childPointer("", state.name), name));
  const fields = withoutObject(wanted);
  const defaults = [...state.fields.values()].filter((field) =>
    field.default !== undefined
  )
    .map((field) => [field.name, field.default as Json]);
  const given: Entry = { ...Object.fromEntries(defaults), ...fields };
  const args = new Set(plugin.mapping.methods.get(state.create!.method!)!.args
    .map((arg) => arg.name));
  const values = Object.values(state.create!.args);
  const late: Change[] = [];
  for (const [fieldName, value] of Object.entries(fields)) {
    const field = state.fields.get(fieldName)!;
    const inCreate = args.has(fieldName) || values.includes(`$${fieldName}`);
    if (inCreate || field.create_only) continue;
    if (!field.write) {
      const why = "can be given neither when it is created nor afterwards";
      throw stateError(file, childPointer(`/${state.name}/${name}`, fieldName), why);
    }
    late.push(change(context, {
      key: name,
      item: fieldName,
      action: "modify",
      before: null,
      after: value,
      call: { part: `fields.${fieldName}`, bindings: { key: name, value }, late: name },
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
