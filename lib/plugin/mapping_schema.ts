/**
 * The shape of semantic-mapping.toml, as valibot schemas: what `parseMapping` checks and
 * what the JSON Schema is generated from. Meaning beyond shape is in mapping_check.ts.
 *
 * Everything is optional that the seed's format does not have: a file with nothing but
 * `[methods.<name>] safe, requires_confirmation, dbus_method, args` is valid.
 */
import * as v from "valibot";
import {
  BUS_NAME_PATTERN,
  INTERFACE_PATTERN,
  isObjectPath,
  isSingleType,
  MAX_NAME_CHARS,
  MEMBER_PATTERN,
} from "../dbus/names.ts";

/** Most entries of one table; a mapping is written by people or from one service. */
export const MAX_ENTRIES = 4096;
const MAX_TEXT_CHARS = 4096;

const Text = v.pipe(v.string(), v.maxLength(MAX_TEXT_CHARS));
const Identifier = v.pipe(
  v.string(),
  v.maxLength(128),
  v.regex(
    /^[A-Za-z_][A-Za-z0-9_-]*$/,
    "is not a name of letters, digits, underscore and hyphen",
  ),
);
const Bus = v.pipe(
  v.string(),
  v.regex(
    /^(system|session|(unix|tcp|unixexec):.+)$/,
    'is neither "system", "session" nor a D-Bus address',
  ),
);
const busText = (pattern: RegExp, message: string) =>
  v.pipe(v.string(), v.maxLength(MAX_NAME_CHARS), v.regex(pattern, message));
const BusName = busText(BUS_NAME_PATTERN, "is not a D-Bus name");
const Interface = busText(INTERFACE_PATTERN, "is not a D-Bus interface name");
const Member = busText(MEMBER_PATTERN, "is not a name of a D-Bus method or property");
/** An object path, or one with `{object}` or `{key}` to be filled in. */
const Path = v.pipe(
  v.string(),
  v.check(
    (text) => text === "{object}" || isObjectPath(text.replaceAll("{key}", "k")),
    "is not an object path",
  ),
);
const Signature = v.pipe(v.string(), v.check(isSingleType, "is not one D-Bus type"));
const Count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255));

/** A method's argument: its name only (the seed's form), or with type and fixed value. */
export const ArgSchema = v.union([
  Identifier,
  v.object({
    name: Identifier,
    type: v.optional(Signature),
    /** What is sent unless a state gives something else. */
    value: v.optional(v.unknown()),
    description: v.optional(Text),
  }),
], 'is neither a name nor a table { name = "…", type = "…" }');

export const MethodSchema = v.object({
  dbus_method: v.optional(Member),
  interface: v.optional(Interface),
  path: v.optional(Path),
  args: v.optional(v.pipe(v.array(ArgSchema), v.maxLength(255))),
  returns: v.optional(v.pipe(v.array(ArgSchema), v.maxLength(255))),
  safe: v.optional(v.boolean()),
  requires_confirmation: v.optional(v.boolean()),
  /** D-Bus error names, their last parts, or words in the message that mean "done". */
  ok_errors: v.optional(v.array(Text)),
  /** The method that undoes this one, with the same arguments. */
  inverse: v.optional(Identifier),
  timeout: v.optional(v.pipe(
    v.string(),
    v.regex(/^[0-9]+(ms|s|m)$/, 'is not a time like "30s"'),
  )),
  classified_by: v.optional(v.picklist(["rule", "annotation", "person"])),
  reason: v.optional(Text),
  description: v.optional(Text),
});

/** Values for a call's arguments, by name; `"$key"` and the like are filled in. */
const ArgValues = v.record(Identifier, v.unknown());

/** Where a value is read: a property, or what a safe method returns. */
export const ReadSchema = v.object({
  property: v.optional(Member),
  method: v.optional(Identifier),
  interface: v.optional(Interface),
  path: v.optional(Path),
  args: v.optional(ArgValues),
  /** Which of several returned values; the first is 0. */
  out: v.optional(Count),
});

/** How a change is made: a method, or a writable property. */
export const WriteSchema = v.object({
  method: v.optional(Identifier),
  property: v.optional(Member),
  interface: v.optional(Interface),
  path: v.optional(Path),
  args: v.optional(ArgValues),
  /** The argument that takes the value. */
  arg: v.optional(Identifier),
  /** Sets: the arguments that take an item's parts, in the order that `read` has them. */
  item: v.optional(v.array(Identifier)),
  /** What undoing this very change does not bring back, if anything. */
  undo_note: v.optional(Text),
});

/** A part of a record, or of an entry of a collection. */
export const FieldSchema = v.object({
  property: v.optional(Member),
  interface: v.optional(Interface),
  /** Collections that list rows: the column's name in `columns`. */
  column: v.optional(Identifier),
  type: v.optional(Signature),
  write: v.optional(WriteSchema),
  /** Only an argument of `create`; never compared afterwards. */
  create_only: v.optional(v.boolean()),
  /** What `create` gets where the state file says nothing. */
  default: v.optional(v.unknown()),
  description: v.optional(Text),
});

export const STATE_KINDS = ["value", "set", "toggle", "record", "collection"] as const;

export const StateSchema = v.object({
  kind: v.picklist(STATE_KINDS),
  description: v.optional(Text),
  type: v.optional(Signature),
  /** value, set, toggle: the argument that says which one, e.g. `zone`. collection: the
   * field that names an entry. */
  key: v.optional(Identifier),
  /** Where all the keys are read, so that a query sees every one. */
  keys: v.optional(ReadSchema),
  read: v.optional(ReadSchema),
  write: v.optional(WriteSchema),
  add: v.optional(WriteSchema),
  remove: v.optional(WriteSchema),
  on: v.optional(WriteSchema),
  off: v.optional(WriteSchema),
  list: v.optional(ReadSchema),
  create: v.optional(WriteSchema),
  delete: v.optional(WriteSchema),
  /** Collections that list rows: the names of a row's columns. */
  columns: v.optional(v.array(Identifier)),
  /** Collections that list objects: the interface whose properties are read. */
  object_interface: v.optional(Interface),
  /** Where the service's org.freedesktop.DBus.ObjectManager is: all objects by one call. */
  object_manager: v.optional(Path),
  fields: v.optional(v.record(Identifier, FieldSchema)),
  /** Sets of several parts: what joins them in a state file, `80/tcp`. */
  separator: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(4))),
  /** Delete what the state file does not list. */
  exclusive: v.optional(v.boolean()),
  /** States of this plugin that must be applied before this one. */
  after: v.optional(v.array(Identifier)),
  requires_confirmation: v.optional(v.boolean()),
  /** Why writing back what was read is not the same as before, if it is not. */
  undo_note: v.optional(Text),
});

export const ServiceSchema = v.object({
  bus: v.optional(Bus),
  name: BusName,
  path: v.optional(Path),
  interface: v.optional(Interface),
  description: v.optional(Text),
});

/** semantic-mapping.toml. */
export const MappingSchema = v.object({
  service: v.optional(ServiceSchema),
  methods: v.optional(v.record(Identifier, MethodSchema)),
  state: v.optional(v.record(Identifier, StateSchema)),
});

export type MappingDocument = v.InferOutput<typeof MappingSchema>;
export type ArgDocument = v.InferOutput<typeof ArgSchema>;
export type MethodDocument = v.InferOutput<typeof MethodSchema>;
export type ReadDocument = v.InferOutput<typeof ReadSchema>;
export type WriteDocument = v.InferOutput<typeof WriteSchema>;
export type FieldDocument = v.InferOutput<typeof FieldSchema>;
export type StateDocument = v.InferOutput<typeof StateSchema>;
