/**
 * `kind = "collection"`: entries with names, made and deleted by the service: users,
 * images, containers. A state file gives `{"<name>": {fields}}`; `null` means that the
 * entry must not be there. Entries that it does not name stay, unless `exclusive = true`.
 */
import { childPointer, isObject, type Json } from "../../dbus/value.ts";
import type { MappedField } from "../../plugin/mapping.ts";
import { valueType } from "../bindings.ts";
import { stateError } from "../document.ts";
import { type Change, isUnknown } from "../model.ts";
import { creation, deletion, modifications } from "./collection_change.ts";
import { type Entry, OBJECT, readEntries } from "./collection_read.ts";
import {
  checkType,
  type Kind,
  type KindContext,
  requirePart,
  unknownChange,
} from "./kind.ts";

type Entries = { readonly [name: string]: Entry | null };

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
  observe(context, reader) {
    return readEntries(context, reader);
  },
  relevant({ state }, desired, observed) {
    if (isUnknown(observed)) return observed;
    const wanted = desired as Entries, found = observed as Entries;
    const fields = (name: string): Json => {
      const entry = Object.hasOwn(found, name) ? found[name] : null;
      // What is deleted decides in whole: its undoing makes all of it again.
      if (!entry || isUnknown(entry) || !wanted[name]) return entry ?? null;
      const names = Object.keys(wanted[name]);
      return Object.fromEntries(names.map((field) => [field, entry[field] ?? null]));
    };
    return {
      entries: Object.fromEntries(
        Object.keys(wanted).map((name) => [name, fields(name)]),
      ),
      ...(state.exclusive && {
        others: Object.fromEntries(
          Object.entries(found).filter(([name]) => !Object.hasOwn(wanted, name)),
        ),
      }),
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
