/**
 * `kind = "record"`: several values, read one by one; written together by one method whose
 * arguments have the fields' names, or each by its own.
 */
import { childPointer, isObject, type Json, sameValue } from "../../dbus/value.ts";
import type { MappedField } from "../../plugin/mapping.ts";
import { type Bindings, valueType } from "../bindings.ts";
import { stateError } from "../document.ts";
import { type Change, isUnknown } from "../model.ts";
import {
  change,
  checkType,
  fixedChange,
  type Kind,
  type KindContext,
  unknownChange,
} from "./kind.ts";

function fieldType(context: KindContext, field: MappedField): string | undefined {
  const { mapping } = context.plugin;
  return field.type ??
    (field.write
      ? valueType(mapping, field.write, undefined)
      : valueType(mapping, context.state.write, field.name));
}

type Fields = { readonly [name: string]: Json };

export const record: Kind = {
  validate(context, desired, pointer) {
    const { state, file } = context;
    if (!isObject(desired)) throw stateError(file, pointer, "expected an object");
    for (const [name, wanted] of Object.entries(desired)) {
      const at = childPointer(pointer, name);
      const field = state.fields.get(name);
      if (!field) {
        const known = [...state.fields.keys()].join(", ");
        throw stateError(file, at, `is unknown; ${state.name} has: ${known}`);
      }
      checkType(context, fieldType(context, field), wanted, at);
    }
  },
  async observe({ state }, reader, bindings) {
    const entries = await Promise.all([...state.fields.values()].map(async (field) => {
      const { property, interface: iface } = field;
      const read = {
        property: property!,
        ...(iface !== undefined && { interface: iface }),
      };
      return [field.name, await reader.read(read, bindings, field.type)] as const;
    }));
    return Object.fromEntries(entries);
  },
  relevant({ state }, desired, observed) {
    if (state.write) return observed;
    const names = Object.keys(desired as Fields);
    return Object.fromEntries(names.map((name) => [name, (observed as Fields)[name]!]));
  },
  diff(context, bindings, key, desired, observed) {
    const wanted = desired as Fields, found = observed as Fields;
    const differing = Object.keys(wanted).filter((name) =>
      !sameValue(wanted[name]!, found[name]!)
    );
    if (differing.length === 0) return [];
    const { state } = context;
    const alone = differing.filter((name) => state.fields.get(name)?.write);
    const others = differing.filter((name) => !alone.includes(name));
    const together = state.write ? others : [], fixed = state.write ? [] : others;
    return [
      ...(together.length > 0
        ? [wholeChange(context, bindings, key, wanted, found, together)]
        : []),
      ...fixed.map((name) =>
        isUnknown(found[name]!)
          ? unknownChange(context, key, name, wanted[name]!, found[name])
          : fixedChange(context, key, name, wanted[name]!, found[name]!)
      ),
      ...alone.map((name) =>
        fieldChange(context, bindings, key, name, wanted[name]!, found[name]!)
      ),
    ];
  },
};

function wholeChange(
  context: KindContext,
  bindings: Bindings,
  key: string | null,
  wanted: Fields,
  found: Fields,
  names: readonly string[],
): Change {
  const after = { ...found, ...wanted };
  // The method writes every field; one that cannot be read cannot be kept as it is.
  const hidden = Object.entries(found).find(([name, value]) =>
    isUnknown(value) && !context.state.fields.get(name)?.write
  );
  if (hidden && isUnknown(hidden[1])) {
    return unknownChange(context, key, undefined, wanted, hidden[1]);
  }
  const pick = (from: Fields) => Object.fromEntries(names.map((n) => [n, from[n]!]));
  return change(context, {
    key,
    action: "modify",
    before: pick(found),
    after: pick(after),
    call: { part: "write", bindings: { ...bindings, ...after } },
    undo: { part: "write", bindings: { ...bindings, ...found } },
    inverse: pick(found),
  });
}

function fieldChange(
  context: KindContext,
  bindings: Bindings,
  key: string | null,
  name: string,
  wanted: Json,
  found: Json,
): Change {
  if (isUnknown(found)) return unknownChange(context, key, name, wanted, found);
  const part = `fields.${name}`;
  return change(context, {
    key,
    item: name,
    action: "modify",
    before: found,
    after: wanted,
    call: { part, bindings: { ...bindings, value: wanted } },
    undo: { part, bindings: { ...bindings, value: found } },
    inverse: { [name]: found },
  });
}
