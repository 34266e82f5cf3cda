/**
 * semantic-mapping.toml: how the state of a D-Bus service is read and changed, and which
 * of its methods are safe. {@link checkMapping} reports everything at once,
 * {@link parseMapping} throws the first error.
 */
import { InputError } from "../base/errors.ts";
import { checkMeaning } from "./mapping_check.ts";
import type {
  MappedArg,
  MappedField,
  MappedMethod,
  MappedState,
  MappedWrite,
  Mapping,
} from "./mapping_model.ts";
import {
  type ArgDocument,
  type FieldDocument,
  type MappingDocument,
  MappingSchema,
  MAX_ENTRIES,
  type MethodDocument,
  type StateDocument,
  type WriteDocument,
} from "./mapping_schema.ts";
import { orderByDependency } from "./mapping_order.ts";
import { formatProblem, InvalidFileError, type Problem } from "./problems.ts";
import { checkAgainst, parseToml, type TomlDocument } from "./toml.ts";

export type * from "./mapping_model.ts";
export type { Problem } from "./problems.ts";
export { formatProblem } from "./problems.ts";
export { MappingSchema } from "./mapping_schema.ts";

/** Largest mapping file taken; systemd1's, generated, is about 150 kB. */
export const MAX_MAPPING_BYTES = 2 * 1024 * 1024;

/**
 * Everything that is wrong with a mapping.
 *
 * @param text the file's content
 * @param file its name, for messages
 * @returns the mapping unless there is an error, and all problems by line
 */
export function checkMapping(
  text: string,
  file: string,
): { mapping?: Mapping; problems: readonly Problem[] } {
  let document: TomlDocument;
  try {
    document = parseToml(text, file, MAX_MAPPING_BYTES);
  } catch (error) {
    if (!(error instanceof InvalidFileError)) throw error;
    return { problems: error.problems };
  }
  const { value, problems } = checkAgainst(MappingSchema, document.value, document);
  if (!value) return { problems };
  const all = [...problems, ...checkMeaning(value, document)];
  if (all.some(({ severity }) => severity === "error")) return { problems: all };
  return { mapping: build(value, file), problems: all };
}

/**
 * Parses a mapping.
 *
 * @param text the file's content
 * @param file its name, for messages
 * @throws {InputError} with file, line, column and key of the first error
 */
export function parseMapping(text: string, file: string): Mapping {
  const { mapping, problems } = checkMapping(text, file);
  if (mapping) return mapping;
  const errors = problems.filter(({ severity }) => severity === "error");
  throw new InputError("bad_mapping", formatProblem(errors[0]!), {
    hint: errors.length > 1
      ? `${errors.length - 1} more; see all with: op-dbus plugin validate DIR`
      : "correct that line",
  });
}

function build(document: MappingDocument, file: string): Mapping {
  const methods = new Map<string, MappedMethod>();
  for (const [name, method] of Object.entries(document.methods ?? {})) {
    methods.set(name, buildMethod(name, method));
  }
  const states = Object.entries(document.state ?? {}).map(([name, state]) =>
    buildState(name, state)
  );
  const byName = new Map(states.map((state) => [state.name, state]));
  const { ordered } = orderByDependency(
    [...byName.keys()],
    (name) => byName.get(name)?.after ?? [],
  );
  return {
    file,
    ...(document.service && { service: buildService(document.service) }),
    methods,
    states: new Map(ordered.map((name) => [name, byName.get(name)!])),
  };
}

function buildService(service: NonNullable<MappingDocument["service"]>) {
  const { bus = "system", name, description } = service;
  return {
    bus,
    name,
    path: service.path ?? `/${name.replaceAll(".", "/").replaceAll("-", "_")}`,
    interface: service.interface ?? name,
    ...(description !== undefined && { description }),
  };
}

function buildMethod(name: string, method: MethodDocument): MappedMethod {
  const { dbus_method, args, returns, safe = false, ok_errors, timeout, ...rest } =
    method;
  const { requires_confirmation, classified_by, ...plain } = rest;
  return {
    ...defined(plain),
    name,
    dbusMethod: dbus_method ?? pascalCase(name),
    args: (args ?? []).map(buildArg),
    returns: (returns ?? []).map(buildArg),
    safe,
    requiresConfirmation: requires_confirmation ?? !safe,
    okErrors: ok_errors ?? [],
    ...(timeout !== undefined && { timeoutMs: milliseconds(timeout) }),
    ...(classified_by !== undefined && { classifiedBy: classified_by }),
  };
}

/** `create_container` as D-Bus names it: `CreateContainer`. */
export function pascalCase(name: string): string {
  return name.replace(/(?:^|[_-]+)([A-Za-z0-9])/g, (_, letter) => letter.toUpperCase());
}

function buildArg(arg: ArgDocument): MappedArg {
  return typeof arg === "string" ? { name: arg } : defined(arg);
}

function buildState(name: string, state: StateDocument): MappedState {
  const { exclusive, after, requires_confirmation, undo_note, columns, ...more } = state;
  const {
    fields,
    object_interface,
    object_manager,
    write,
    add,
    remove,
    on,
    off,
    create,
    ...rest
  } = more;
  const { delete: deletion, ...plain } = rest;
  const writes = { write, add, remove, on, off, create, delete: deletion };
  return {
    ...defined(plain),
    ...defined(Object.fromEntries(
      Object.entries(writes).map(([key, value]) => [key, value && buildWrite(value)]),
    )),
    name,
    columns: columns ?? [],
    fields: new Map(
      Object.entries(fields ?? {}).map(([key, field]) => [key, buildField(key, field)]),
    ),
    exclusive: exclusive ?? false,
    after: after ?? [],
    requiresConfirmation: requires_confirmation ?? false,
    ...(object_interface !== undefined && { objectInterface: object_interface }),
    ...(object_manager !== undefined && { objectManager: object_manager }),
    ...(undo_note !== undefined && { undoNote: undo_note }),
  };
}

function buildField(name: string, field: FieldDocument): MappedField {
  const { write, ...rest } = field;
  return { ...defined(rest), name, ...(write && { write: buildWrite(write) }) };
}

function buildWrite(write: WriteDocument): MappedWrite {
  const { args, item, undo_note, ...rest } = write;
  return {
    ...defined(rest),
    args: args ?? {},
    item: item ?? [],
    ...(undo_note !== undefined && { undoNote: undo_note }),
  };
}

/** The same without the entries that are undefined. */
function defined<T extends object>(
  value: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(value).filter(([, entry]) => entry !== undefined),
  ) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function milliseconds(text: string): number {
  const count = parseInt(text, 10);
  return text.endsWith("ms") ? count : text.endsWith("m") ? count * 60_000 : count * 1000;
}

export { MAX_ENTRIES };
