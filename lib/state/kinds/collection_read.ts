/** Reading a collection: rows of a list, or objects with their properties. */
import { BusError } from "../../dbus/bus_error.ts";
import { type Json, plain } from "../../dbus/value.ts";
import { isUnknown, unknown } from "../model.ts";
import { checkedValue, type Properties, type StateReader } from "../reader.ts";
import type { KindContext } from "./kind.ts";

/** An entry's fields by name. */
export type Entry = { readonly [field: string]: Json };
/** Where an entry's object path is kept; not a field. */
export const OBJECT = "$object";
/** The key of entries that only their object's path names. */
export const PATH_KEY = "object";

/** A collection's entries by name, or why they cannot be known. */
export async function readEntries(
  context: KindContext,
  reader: StateReader,
): Promise<Json> {
  const { list, objectInterface, objectManager } = context.state;
  const [found, managed] = await Promise.all([
    list && reader.read(list, {}),
    objectManager === undefined ? undefined : reader.managed(objectManager),
  ]);
  if (found !== undefined && isUnknown(found)) return found;
  if (found !== undefined && !Array.isArray(found)) {
    return unknown(`expected a list, the service says ${JSON.stringify(found)}`);
  }
  if (objectInterface === undefined) return rows(context, found as Json[]);
  const paths = found as Json[] | undefined;
  if (managed === undefined) return await objects(context, reader, paths!);
  if (managed instanceof BusError) {
    return paths ? await objects(context, reader, paths) : unknown(managed.message);
  }
  const wanted = paths && new Set(paths.map(String));
  const listed = Object.entries(managed).filter(([path, interfaces]) =>
    Object.hasOwn(interfaces, objectInterface) && (!wanted || wanted.has(path))
  );
  return byName(
    listed.map(([path, all]) => entryOf(context, path, all[objectInterface]!)),
  );
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
  return byName(entries);
}

/** One GetAll per object, for services without an ObjectManager. */
async function objects(
  context: KindContext,
  reader: StateReader,
  paths: readonly Json[],
): Promise<Json> {
  const entries = await Promise.all(paths.map(async (path) => {
    const all = await reader.properties(String(path), context.state.objectInterface!);
    // It went away between the list and now: not there.
    if (all instanceof BusError && all.code === "dbus_unknown") return null;
    if (all instanceof BusError) return unknown(all.message);
    return entryOf(context, String(path), all);
  }));
  return byName(entries.filter((entry) => entry !== null));
}

function entryOf({ state }: KindContext, path: string, all: Properties) {
  const key = state.fields.get(state.key!)?.property ?? state.key!;
  const name = Object.hasOwn(all, key) ? plain(all[key]!.value) : undefined;
  const isPath = name === undefined && state.key === PATH_KEY;
  if (name === undefined && !isPath) return unknown(`${path} has no property ${key}`);
  const fields = [...state.fields.values()].filter((field) => !field.create_only)
    .map(({ name, property, type }) => {
      const found = Object.hasOwn(all, property!) ? all[property!] : undefined;
      if (found === undefined) return [name, unknown(`no property ${property}`)];
      return [name, plain(checkedValue(found, type, property!))];
    });
  const entry: Entry = { [OBJECT]: path, ...Object.fromEntries(fields) };
  return [isPath ? path : String(name), entry] as const;
}

/** Entries by name; a name that two have says nothing of either. */
function byName(entries: readonly (readonly [string, Entry] | Json)[]): Json {
  const found = new Map<string, Entry>();
  for (const entry of entries) {
    if (!Array.isArray(entry)) return entry as Json;
    const [name, fields] = entry as [string, Entry];
    const twice = found.has(name);
    found.set(name, twice ? unknown(`two entries have the name ${name}`) : fields);
  }
  return Object.fromEntries(found);
}
