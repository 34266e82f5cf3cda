/** What the desired-state room passes around. All of it is JSON: plans are saved as files. */
import type { Json } from "../dbus/value.ts";

/** One D-Bus call that a plan would make. */
export interface PlannedCall {
  readonly bus: string;
  readonly destination: string;
  /** `{object}` where the object is made by an earlier call of the plan. */
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
  readonly args: readonly Json[];
  /** The mapping's name for it, e.g. `add_service`, or `property Locale`. */
  readonly method: string;
  readonly ok_errors: readonly string[];
  readonly timeout_ms: number | null;
  /**
   * Present when something in it is known only later (an object's path, an id that the
   * service picks): which part of the mapping builds it, from what.
   */
  readonly late?: LateCall;
}

/** How a call is built again once what it needs can be read. */
export interface LateCall {
  /** `create`, `delete`, or `fields.<name>`. */
  readonly part: string;
  readonly key: string;
  readonly bindings: { readonly [name: string]: Json };
}

/** What happens to a resource. */
export type Action = "create" | "modify" | "delete" | "unknown";

/** One difference between what is wanted and what is. */
export interface Change {
  /** Unique within the plan, e.g. `firewalld.services.public: ssh`. */
  readonly id: string;
  readonly plugin: string;
  readonly state: string;
  /** The key of a keyed state or the name of a collection's entry. */
  readonly key: string | null;
  readonly action: Action;
  readonly before: Json;
  readonly after: Json;
  /** Null when the action is `unknown`. */
  readonly call: PlannedCall | null;
  /** What would undo it; null when nothing does, or when undoing another change does. */
  readonly undo: PlannedCall | null;
  /** Why it cannot be undone, or not exactly; null when it can. */
  readonly undo_note: string | null;
  /** True when the mapping calls the method safe. */
  readonly safe: boolean;
  /** True when a person must agree. */
  readonly confirm: boolean;
  /** Why the action is unknown; null otherwise. */
  readonly reason: string | null;
  /** What the state file must say to have it as it was before; null: nothing does. */
  readonly inverse: Json;
}

/** The changes that make a host match a state document, in the order of application. */
export interface Plan {
  readonly version: 1;
  /** ISO time. */
  readonly created: string;
  /** The wanted state per plugin: the document's `plugins`. */
  readonly desired: Desired;
  readonly desired_hash: string;
  /** Over what was observed of it. */
  readonly observed_hash: string;
  readonly changes: readonly Change[];
}

/** Per plugin, per state: what is wanted. */
export type Desired = { readonly [plugin: string]: { readonly [state: string]: Json } };

/** Per plugin, per state: what is; what cannot be known is `{"$unknown": "why"}`. */
export type Observed = Desired;

/** A value that could not be read. */
export interface Unknown {
  readonly $unknown: string;
}

/** Marks a value as not known. */
export function unknown(why: string): { readonly [key: string]: Json } & Unknown {
  return { $unknown: why };
}

/** Why a value of another type than the mapping says is not taken. */
export function wrongType(what: string, actual: string, expected: string): string {
  return `${what} has the D-Bus type "${actual}", and the mapping says "${expected}": ` +
    "has the service changed? make the plugin again with op-dbus plugin create";
}

/** True for what {@link unknown} makes. */
export function isUnknown(
  value: Json,
): value is { readonly [key: string]: Json } & Unknown {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    typeof (value as { $unknown?: Json }).$unknown === "string";
}

/** The name of a resource, e.g. `firewalld.services.public`. */
export function resourceId(...parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null)
    .map((part) => /^[\w@:-]+$/.test(part) ? part : JSON.stringify(part)).join(".");
}
