/** The state file: `{"version": 1, "plugins": {"<name>": {...}}}`. */
import * as v from "valibot";
import { isSysError } from "../../ffi/errno.ts";
import { asOpError, InputError } from "../base/errors.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { childPointer, isObject, type Json } from "../dbus/value.ts";
import { parseJsonText } from "./json_text.ts";
import { type Desired, isUnknown, type Plan } from "./model.ts";

/** Largest state file or plan taken. */
export const MAX_STATE_BYTES = 32 * 1024 * 1024;

/** The state file's shape; what a plugin's part may hold is its mapping's matter. */
export const StateFileSchema = v.object({
  version: v.literal(1),
  plugins: v.record(v.string(), v.record(v.string(), v.unknown())),
});

/** A wrong place in a state file. */
export function stateError(file: string, pointer: string, why: string): InputError {
  return new InputError("bad_state", `${file}: ${pointer || "/"}: ${why}`, {
    hint: "op-dbus query prints the present state in the same form",
  });
}

/**
 * Reads a file that is a state document or a saved plan.
 *
 * @throws {InputError} with the JSON pointer of what is wrong
 */
export function readStateFile(path: string): { desired: Desired } | { plan: Plan } {
  const value = parseJsonText(readCapped(path), path);
  if (isObject(value) && Object.hasOwn(value, "changes")) {
    return { plan: checkPlan(value, path) };
  }
  return { desired: parseDocument(value, path) };
}

function readCapped(path: string): string {
  try {
    return readTextFile(path, MAX_STATE_BYTES);
  } catch (error) {
    if (isSysError(error, "EFBIG")) {
      throw new InputError(
        "too_large",
        `${path} is larger than ${MAX_STATE_BYTES / 1024 / 1024} MiB`,
        { hint: "split it by plugin" },
      );
    }
    const known = asOpError(error, `Cannot read the state file ${path}`);
    throw new InputError(known.code, known.message, {
      cause: error,
      ...(known.hint && { hint: known.hint }),
    });
  }
}

/**
 * Checks the frame of a state document.
 *
 * @param file for messages
 * @throws {InputError}
 */
export function parseDocument(value: Json, file: string): Desired {
  if (!isObject(value)) throw stateError(file, "", "expected an object");
  for (const key of Object.keys(value)) {
    // `$schema` is how editors find the schema.
    if (!["version", "plugins", "$schema"].includes(key)) {
      throw stateError(file, childPointer("", key), "is unknown");
    }
  }
  if (value.version !== 1) {
    const found = value.version === undefined
      ? "is missing"
      : `is ${JSON.stringify(value.version)}`;
    throw stateError(file, "/version", `${found}; this op-dbus reads version 1`);
  }
  const { plugins } = value;
  if (!isObject(plugins)) throw stateError(file, "/plugins", "expected an object");
  for (const [name, states] of Object.entries(plugins)) {
    if (!isObject(states)) {
      throw stateError(file, childPointer("/plugins", name), "expected an object");
    }
  }
  return withoutUnknown(plugins) as Desired;
}

/** What a query could not read is in its output, and nobody wants it. */
function withoutUnknown(value: Json): Json {
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, child]) => !isUnknown(child))
      .map(([key, child]) => [key, withoutUnknown(child)]),
  );
}

function checkPlan(value: { readonly [key: string]: Json }, file: string): Plan {
  const ok = value.version === 1 && Array.isArray(value.changes) &&
    isObject(value.desired) && typeof value.desired_hash === "string" &&
    typeof value.observed_hash === "string";
  if (!ok) throw stateError(file, "", "is no plan of this op-dbus");
  parseDocument({ version: 1, plugins: value.desired! }, file);
  return value as unknown as Plan;
}
