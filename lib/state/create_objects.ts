/**
 * Collections proposed from a service's ObjectManager: one per interface of its objects,
 * all read by one call. Source: D-Bus specification, "org.freedesktop.DBus.ObjectManager".
 */
import type { Bus, CallOptions } from "../dbus/bus.ts";
import { BusError } from "../dbus/bus_error.ts";
import { introspect } from "../dbus/introspect.ts";
import { isOwnInterface, snakeCase } from "../plugin/mapping_generate.ts";
import { type Block, block, splitBlocks } from "../plugin/mapping_write.ts";
import { PATH_KEY } from "./kinds/collection_read.ts";
import { type ManagedObjects, managedObjects, type Properties } from "./reader.ts";

/** What collections are proposed for. */
export interface CollectionInput {
  readonly service: string;
  /** The mapped object; the ObjectManager is there or above it. */
  readonly path: string;
  /** Interfaces that are mapped already. */
  readonly mapped: readonly string[];
  /** Names of states that are taken. */
  readonly states: readonly string[];
  /** What was generated before, where objects may have been that are gone for now. */
  readonly before: string | null;
}

/** Most interfaces looked at; the largest services have about 40. */
const MAX_INTERFACES = 100;
/** Properties that name an object, the best first; taken where each object has its own. */
const NAMES = ["Name", "Id", "Identifier", "Interface", "UserName", "UUID", "Address"];

/** The tables of all collections. */
export async function proposeCollections(
  bus: Bus,
  input: CollectionInput,
  options: CallOptions = {},
): Promise<Block[]> {
  const found = await findManager(bus, input, options);
  const before = splitBlocks(input.before ?? "").blocks
    .filter(({ text }) => /^object_manager = /m.test(text));
  if (!found) return [];
  const byInterface = new Map<string, [path: string, all: Properties][]>();
  for (const [path, interfaces] of Object.entries(found.objects)) {
    for (const [iface, all] of Object.entries(interfaces)) {
      const isNew = isOwnInterface(iface) && !input.mapped.includes(iface);
      if (!isNew || Object.keys(all).length === 0) continue;
      byInterface.set(iface, [...byInterface.get(iface) ?? [], [path, all]]);
    }
  }
  const taken = new Set(input.states), blocks: Block[] = [];
  for (const [iface, objects] of [...byInterface].sort().slice(0, MAX_INTERFACES)) {
    const old = before.find(({ text }) =>
      text.includes(`\nobject_interface = "${iface}"\n`)
    );
    const name = old?.name.slice("state.".length) ?? freeName(taken, iface);
    taken.add(name);
    const writable = await writableProperties(bus, input.service, objects[0]![0], iface);
    blocks.push(collection(name, found.path, iface, objects, writable, old));
  }
  // Objects come and go; a table of those that are gone for now stays.
  const now = new Set(blocks.map((made) => made.name));
  return [...blocks, ...before.filter((old) => !now.has(old.name))];
}

/** The ObjectManager at the path or above it; undefined where there is none. */
async function findManager(
  bus: Bus,
  { service, path }: CollectionInput,
  options: CallOptions,
): Promise<{ path: string; objects: ManagedObjects } | undefined> {
  for (let at = path;; at = at.slice(0, at.lastIndexOf("/")) || "/") {
    try {
      return { path: at, objects: await managedObjects(bus, service, at, options) };
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      const isNone = [
        "dbus_unknown",
        "dbus_error",
        "permission_denied",
        "dbus_bad_reply",
      ];
      if (!isNone.includes(error.code)) throw error;
    }
    if (at === "/") return undefined;
  }
}

function freeName(taken: ReadonlySet<string>, iface: string): string {
  const name = snakeCase(iface.slice(iface.lastIndexOf(".") + 1));
  for (let n = 1;; n++) {
    const unique = n === 1 ? name : `${name}_${n}`;
    if (!taken.has(unique)) return unique;
  }
}

async function writableProperties(
  bus: Bus,
  service: string,
  path: string,
  iface: string,
): Promise<ReadonlySet<string>> {
  try {
    const { data } = await introspect(bus, service, path);
    const properties = data.interfaces.find(({ name }) => name === iface)?.properties;
    const writable = (properties ?? []).filter(({ access }) => access === "readwrite");
    return new Set(writable.map(({ name }) => name));
  } catch (error) {
    // Gone since it was listed: its properties are known, only not what can be written.
    if (error instanceof BusError && error.code === "dbus_unknown") return new Set();
    throw error;
  }
}

function collection(
  name: string,
  manager: string,
  iface: string,
  objects: readonly [path: string, all: Properties][],
  writable: ReadonlySet<string>,
  old: Block | undefined,
): Block {
  const types = new Map<string, string>();
  for (const [, all] of objects) {
    for (const [property, { $type }] of Object.entries(all)) types.set(property, $type);
  }
  const fields = new Map<string, unknown>(), names = new Map<string, string>();
  for (const [property, type] of types) {
    let field = snakeCase(property);
    while (fields.has(field) || field === PATH_KEY) field = `${field}_property`;
    const write = writable.has(property) ? { property, path: "{object}" } : undefined;
    fields.set(field, { property, type, write });
    names.set(property, field);
  }
  const unique = NAMES.find((property) => namesAll(objects, property));
  const kept = /^key = "([^"]+)"$/m.exec(old?.text ?? "")?.[1];
  const key = kept !== undefined && (kept === PATH_KEY || fields.has(kept))
    ? kept
    : (unique && names.get(unique)) ?? PATH_KEY;
  return block(`state.${name}`, {
    kind: "collection",
    object_manager: manager,
    object_interface: iface,
    key,
    ...Object.fromEntries(
      [...fields].map(([field, value]) => [`fields.${field}`, value]),
    ),
  }, "Made and deleted by methods that a person must name: create, delete.");
}

function namesAll(
  objects: readonly [path: string, all: Properties][],
  property: string,
): boolean {
  const values = objects.map(([, all]) => all[property]);
  return values.every((value) => value?.$type === "s" && value.value !== "") &&
    new Set(values.map((value) => value!.value)).size === values.length;
}
