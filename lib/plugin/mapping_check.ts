/** What a mapping's shape cannot say: names that refer to nothing, kinds that lack a part. */
import {
  type FieldDocument,
  type MappingDocument,
  MAX_ENTRIES,
  type ReadDocument,
  type StateDocument,
  type WriteDocument,
} from "./mapping_schema.ts";
import { nearest } from "../base/nearest.ts";
import type { Problem } from "./problems.ts";
import type { TomlDocument } from "./toml.ts";
import { orderByDependency } from "./mapping_order.ts";

type Path = (string | number)[];

/** Which parts each kind needs, and which it may have besides the common ones. */
const PARTS: Readonly<
  Record<StateDocument["kind"], { needs: string[]; may: string[] }>
> = {
  value: { needs: ["read"], may: ["write", "type", "key", "keys"] },
  set: {
    needs: ["read"],
    may: ["add", "remove", "key", "keys", "separator", "exclusive"],
  },
  toggle: { needs: ["read"], may: ["on", "off", "key", "keys"] },
  record: { needs: ["fields"], may: ["write", "key", "keys"] },
  collection: {
    needs: ["key"],
    may: [
      ...["list", "create", "delete", "fields", "columns"],
      ...["object_interface", "object_manager", "exclusive"],
    ],
  },
};
const COMMON = [
  "kind",
  "description",
  "after",
  "requires_confirmation",
  "undo_note",
];

/** Checks the meaning of a mapping whose shape is right. */
export function checkMeaning(
  mapping: MappingDocument,
  document: TomlDocument,
): Problem[] {
  const problems: Problem[] = [];
  const add = (path: Path, message: string, severity: Problem["severity"] = "error") =>
    problems.push(document.problem(path, message, severity));
  const methods = mapping.methods ?? {}, states = mapping.state ?? {};
  for (const [table, entries] of [["methods", methods], ["state", states]] as const) {
    if (Object.keys(entries).length > MAX_ENTRIES) {
      add([table], `has more than ${MAX_ENTRIES} entries`);
    }
  }
  for (const [name, method] of Object.entries(methods)) {
    const path = ["methods", name];
    if (method.inverse !== undefined && !Object.hasOwn(methods, method.inverse)) {
      add([...path, "inverse"], unknownMethod(method.inverse, methods));
    }
    duplicates(method.args ?? []).forEach((arg) =>
      add([...path, "args"], `names the argument "${arg}" twice`)
    );
  }
  if (Object.keys(states).length > 0 && !mapping.service) {
    add(["state"], "needs a [service] table that names the D-Bus service");
  }
  for (const [name, state] of Object.entries(states)) {
    checkState(["state", name], state, mapping, add);
  }
  const { cycle } = orderByDependency(
    Object.keys(states),
    (name) => states[name]?.after ?? [],
  );
  if (cycle) add(["state", cycle[0]!, "after"], `is a cycle: ${cycle.join(" -> ")}`);
  return problems;
}

type Add = (path: Path, message: string, severity?: Problem["severity"]) => void;

function checkState(path: Path, state: StateDocument, doc: MappingDocument, add: Add) {
  const { needs, may } = PARTS[state.kind];
  for (const part of needs) {
    if (!Object.hasOwn(state, part)) add(path, `a ${state.kind} needs "${part}"`);
  }
  for (const part of Object.keys(state)) {
    if (![...COMMON, ...needs, ...may].includes(part)) {
      add([...path, part], `means nothing in a ${state.kind}`, "warning");
    }
  }
  if (state.kind === "collection") {
    if (state.list === undefined && state.object_manager === undefined) {
      add(path, 'a collection needs "list" or "object_manager"');
    }
    if (state.object_manager !== undefined && state.object_interface === undefined) {
      add(path, '"object_manager" needs "object_interface": which objects are entries');
    }
  }
  for (const other of state.after ?? []) {
    if (!Object.hasOwn(doc.state ?? {}, other)) {
      add([...path, "after"], `names the unknown state "${other}"`);
    }
  }
  for (const part of ["read", "keys", "list"] as const) {
    const read = state[part];
    if (read) checkRead([...path, part], read, doc, add);
  }
  for (
    const part of ["write", "add", "remove", "on", "off", "create", "delete"] as const
  ) {
    const write = state[part];
    if (write) checkWrite([...path, part], write, state.type, doc, add);
  }
  for (const [name, field] of Object.entries(state.fields ?? {})) {
    checkField([...path, "fields", name], field, state, doc, add);
  }
}

function checkField(
  path: Path,
  field: FieldDocument,
  state: StateDocument,
  doc: MappingDocument,
  add: Add,
) {
  const sources = [field.property, field.column].filter((source) => source !== undefined);
  if (!field.create_only && sources.length !== 1) {
    add(path, 'needs exactly one of "property" and "column" (or create_only = true)');
  }
  if (field.column !== undefined && !(state.columns ?? []).includes(field.column)) {
    add([...path, "column"], `is not one of the columns "${state.columns ?? []}"`);
  }
  if (field.write) checkWrite([...path, "write"], field.write, field.type, doc, add);
}

function checkRead(path: Path, read: ReadDocument, doc: MappingDocument, add: Add) {
  if ((read.property === undefined) === (read.method === undefined)) {
    add(path, 'needs exactly one of "property" and "method"');
  }
  if (read.method === undefined) return;
  const methods = doc.methods ?? {};
  if (!Object.hasOwn(methods, read.method)) {
    add([...path, "method"], unknownMethod(read.method, methods));
  } else if (methods[read.method]?.safe !== true) {
    add([...path, "method"], `"${read.method}" is not marked safe, so it is never read`);
  }
}

function checkWrite(
  path: Path,
  write: WriteDocument,
  type: string | undefined,
  doc: MappingDocument,
  add: Add,
) {
  if ((write.property === undefined) === (write.method === undefined)) {
    add(path, 'needs exactly one of "method" and "property"');
  }
  if (write.property !== undefined && type === undefined) {
    add(path, 'writes a property, so "type" must say which D-Bus type it has');
  }
  if (write.method === undefined) return;
  const methods = doc.methods ?? {};
  if (!Object.hasOwn(methods, write.method)) {
    add([...path, "method"], unknownMethod(write.method, methods));
    return;
  }
  const names = (methods[write.method]?.args ?? []).map(argName);
  const used = [
    ...(write.arg === undefined ? [] : [write.arg]),
    ...(write.item ?? []),
    ...Object.keys(write.args ?? {}),
  ];
  for (const name of used) {
    if (!names.includes(name)) {
      add(
        path,
        `"${write.method}" has no argument "${name}"; it has: ${names.join(", ")}`,
      );
    }
  }
}

function argName(arg: string | { name: string }): string {
  return typeof arg === "string" ? arg : arg.name;
}

function duplicates(args: readonly (string | { name: string })[]): string[] {
  const names = args.map(argName);
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
}

function unknownMethod(name: string, methods: object): string {
  const guess = nearest(name, Object.keys(methods));
  return `names the unknown method "${name}"${guess ? `; did you mean "${guess}"?` : ""}`;
}
