/** The kinds by name, and keyed states taken apart into one resource per key. */
import { InputError } from "../../base/errors.ts";
import { childPointer, isObject, type Json } from "../../dbus/value.ts";
import { stateError } from "../document.ts";
import { type Change, isUnknown, unknown } from "../model.ts";
import type { StateReader } from "../reader.ts";
import { collection } from "./collection.ts";
import type { Kind, KindContext } from "./kind.ts";
import { record } from "./record.ts";
import { set } from "./set.ts";
import { toggle } from "./toggle.ts";
import { value } from "./value.ts";

const KINDS: Readonly<Record<string, Kind>> = { value, set, toggle, record, collection };

function kindOf({ state }: KindContext): Kind {
  return KINDS[state.kind]!;
}

/** True for a state that has one resource per key. */
function isKeyed({ state }: KindContext): boolean {
  return state.key !== undefined && state.kind !== "collection";
}

function bind({ state }: KindContext, key: string) {
  return { [state.key!]: key, key };
}

/**
 * Checks the wanted state of one state of a plugin.
 *
 * @param pointer where it stands in the file
 * @throws {InputError} with the pointer of what is wrong
 */
export function validateState(
  context: KindContext,
  desired: Json,
  pointer: string,
): void {
  if (!isKeyed(context)) return kindOf(context).validate(context, desired, pointer);
  if (!isObject(desired)) {
    throw stateError(context.file, pointer, `expected an object by ${context.state.key}`);
  }
  for (const [key, child] of Object.entries(desired)) {
    kindOf(context).validate(context, child, childPointer(pointer, key));
  }
}

/**
 * What is, in the form of a state file: of the keys that `desired` names, or all of them.
 */
export async function observeState(
  context: KindContext,
  reader: StateReader,
  desired?: Json,
): Promise<Json> {
  const kind = kindOf(context);
  if (!isKeyed(context)) return await kind.observe(context, reader, {}, desired);
  let keys: Json = desired === undefined ? unknown("") : Object.keys(desired as object);
  if (desired === undefined) {
    if (!context.state.keys) {
      return unknown(`the mapping does not say which ${context.state.key}s there are`);
    }
    keys = await reader.read(context.state.keys, {});
    if (isUnknown(keys)) return keys;
    if (!Array.isArray(keys)) return unknown("the keys are no list");
  }
  const entries = await Promise.all((keys as Json[]).map(async (key) => {
    const text = String(key);
    const child = desired === undefined
      ? undefined
      : (desired as { [k: string]: Json })[text];
    const one = kind.observe(context, reader, bind(context, text), child);
    return [text, await (desired === undefined ? unlessOdd(one) : one)] as const;
  }));
  return Object.fromEntries(entries);
}

/** A key that the service names and no path can hold hides none of the others. */
async function unlessOdd(observed: Promise<Json>): Promise<Json> {
  try {
    return await observed;
  } catch (error) {
    if (error instanceof InputError && error.code === "bad_state") {
      return unknown(error.message);
    }
    throw error;
  }
}

/** Of what was observed only what decides the difference. */
export function relevantState(context: KindContext, desired: Json, observed: Json): Json {
  const kind = kindOf(context);
  if (!isKeyed(context)) return kind.relevant(context, desired, observed);
  return mapKeys(
    desired,
    (key, child) => kind.relevant(context, child, at(observed, key)),
  );
}

/** The changes of one state, in order. */
export function diffState(context: KindContext, desired: Json, observed: Json): Change[] {
  const kind = kindOf(context);
  if (!isKeyed(context)) return kind.diff(context, {}, null, desired, observed);
  return Object.entries(desired as { [key: string]: Json }).flatMap(([key, child]) =>
    kind.diff(context, bind(context, key), key, child, at(observed, key))
  );
}

function at(observed: Json, key: string): Json {
  const found = isObject(observed) && Object.hasOwn(observed, key)
    ? observed[key]
    : undefined;
  return found ?? unknown("it was not read");
}

function mapKeys(desired: Json, map: (key: string, child: Json) => Json): Json {
  return Object.fromEntries(
    Object.entries(desired as { [key: string]: Json }).map((
      [key, child],
    ) => [key, map(key, child)]),
  );
}
