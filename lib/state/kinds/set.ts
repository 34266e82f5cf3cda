/**
 * `kind = "set"`: items that are added and removed one by one. A state file gives a list of
 * those that must be there, or `{"present": [...], "absent": [...]}`. Others stay, unless
 * the mapping says `exclusive = true`.
 */
import { isObject, type Json, plain } from "../../dbus/value.ts";
import { valueType } from "../bindings.ts";
import { canonicalJson } from "../canonical.ts";
import { stateError } from "../document.ts";
import { isUnknown, unknown } from "../model.ts";
import {
  change,
  checkType,
  fixedChange,
  type Kind,
  type KindContext,
  unknownChange,
} from "./kind.ts";

/** Most items of one set. */
const MAX_ITEMS = 100_000;

function parts({ state }: KindContext): readonly string[] {
  const add = state.add?.item ?? [];
  return add.length > 0 ? add : state.remove?.item ?? [];
}

/** An item as a state file has it. */
function fromService(context: KindContext, item: Json): Json {
  const names = parts(context), { separator } = context.state;
  if (!Array.isArray(item)) return item;
  if (names.length <= 1 && item.length === 1) return item[0]!;
  const texts = item.filter((part) => typeof part === "string") as string[];
  const joins = separator !== undefined && texts.length === item.length &&
    !texts.some((text) => text.includes(separator));
  if (joins) return texts.join(separator);
  return names.length === item.length
    ? Object.fromEntries(names.map((name, i) => [name, item[i]!]))
    : item;
}

/** An item's parts by the names of the arguments that take them; null when it has others. */
function bindItem(context: KindContext, item: Json): { [name: string]: Json } | null {
  const names = parts(context), { separator } = context.state;
  if (names.length <= 1) return { [names[0] ?? "value"]: item, value: item };
  if (typeof item === "string" && separator !== undefined) {
    const texts = item.split(separator);
    return texts.length === names.length
      ? Object.fromEntries(names.map((name, i) => [name, texts[i]!]))
      : null;
  }
  if (!isObject(item) || Object.keys(item).length !== names.length) return null;
  return names.every((name) => Object.hasOwn(item, name)) ? { ...item } : null;
}

function wanted(desired: Json): { present: readonly Json[]; absent: readonly Json[] } {
  if (Array.isArray(desired)) return { present: desired, absent: [] };
  const { present = [], absent = [] } = desired as { present?: Json[]; absent?: Json[] };
  return { present, absent };
}

/** One spelling per item: `80/tcp` and its parts are the same. */
function spelled(context: KindContext, item: Json): string {
  const bound = bindItem(context, plain(item));
  return canonicalJson(bound ?? item);
}

function validateItems(context: KindContext, items: Json, pointer: string) {
  if (!Array.isArray(items)) throw stateError(context.file, pointer, "expected an array");
  if (items.length > MAX_ITEMS) {
    throw stateError(context.file, pointer, `has more than ${MAX_ITEMS} items`);
  }
  const names = parts(context), { state, plugin } = context;
  const seen = new Set<string>();
  items.forEach((item: Json, i: number) => {
    const at = `${pointer}/${i}`;
    const bound = bindItem(context, item);
    if (!bound) {
      const form = state.separator === undefined
        ? `an object with ${names.join(", ")}`
        : `"${names.join(state.separator)}"`;
      throw stateError(context.file, at, `expected ${form}`);
    }
    for (const name of names) {
      const write = state.add ?? state.remove;
      checkType(context, valueType(plugin.mapping, write, name), bound[name]!, at);
    }
    const text = canonicalJson(bound);
    if (seen.has(text)) throw stateError(context.file, at, "is listed twice");
    seen.add(text);
  });
  return seen;
}

export const set: Kind = {
  validate(context, desired, pointer) {
    if (Array.isArray(desired)) {
      validateItems(context, desired, pointer);
      return;
    }
    const keys = isObject(desired) ? Object.keys(desired) : [];
    if (!isObject(desired) || keys.some((key) => key !== "present" && key !== "absent")) {
      const form = 'an array, or an object with "present" and "absent"';
      throw stateError(context.file, pointer, `expected ${form}`);
    }
    const { present, absent } = wanted(desired);
    const inPresent = validateItems(context, present, `${pointer}/present`);
    const inAbsent = validateItems(context, absent, `${pointer}/absent`);
    if ([...inAbsent].some((item) => inPresent.has(item))) {
      throw stateError(context.file, pointer, "an item is both present and absent");
    }
  },
  async observe(context, reader, bindings) {
    const found = await reader.read(context.state.read!, bindings);
    if (isUnknown(found)) return found;
    if (Array.isArray(found)) {
      return found.map((item) => fromService(context, plain(item)));
    }
    return unknown(`expected a list, the service says ${JSON.stringify(found)}`);
  },
  relevant(context, desired, observed) {
    if (!Array.isArray(observed)) return observed;
    const { present, absent } = wanted(desired);
    const asked = new Set([...present, ...absent].map((item) => spelled(context, item)));
    const all = context.state.exclusive && Array.isArray(desired);
    return observed.map((item) => spelled(context, item))
      .filter((item) => all || asked.has(item)).sort();
  },
  diff(context, bindings, key, desired, observed) {
    if (isUnknown(observed)) {
      return [unknownChange(context, key, undefined, desired, observed)];
    }
    const { present, absent } = wanted(desired);
    const items = new Map(
      (observed as Json[]).map((item) => [spelled(context, item), item]),
    );
    const keep = new Set(present.map((item) => spelled(context, item)));
    const unlisted = context.state.exclusive && Array.isArray(desired)
      ? [...items].filter(([text]) => !keep.has(text)).map(([, item]) => item)
      : [];
    const gone = [
      ...absent.filter((item) => items.has(spelled(context, item))),
      ...unlisted,
    ];
    return [
      ...present.filter((item) => !items.has(spelled(context, item)))
        .map((item) => itemChange(context, bindings, key, item, true)),
      ...gone.map((item) => itemChange(context, bindings, key, item, false)),
    ];
  },
};

function itemChange(
  context: KindContext,
  bindings: { readonly [name: string]: Json },
  key: string | null,
  item: Json,
  add: boolean,
) {
  const bound = { ...bindings, ...bindItem(context, plain(item)) };
  const back = add ? "remove" : "add";
  const canUndo = context.state[back] !== undefined;
  const name = typeof item === "string" ? item : canonicalJson(item);
  if (!context.state[add ? "add" : "remove"]) {
    const [before, after] = add ? [null, item] : [item, null];
    return fixedChange(context, key, name, after, before);
  }
  return change(context, {
    key,
    item: name,
    action: add ? "create" : "delete",
    before: add ? null : item,
    after: add ? item : null,
    call: { part: add ? "add" : "remove", bindings: bound },
    undo: canUndo ? { part: back, bindings: bound } : null,
    undoNote: canUndo ? undefined : `the mapping has no "${back}"`,
    inverse: add ? { absent: [item] } : { present: [item] },
  });
}
