/** What goes wrong on a bus, typed by the D-Bus error's name. */
import { OpError } from "../base/errors.ts";

/** Kinds that callers decide by. */
export type BusErrorCode =
  /** The service answered with an error of its own. */
  | "dbus_error"
  /** Nobody owns the name and it could not be started. */
  | "dbus_no_service"
  /** No such method, property, interface or object. */
  | "dbus_unknown"
  /** polkit, the bus or the service refused. */
  | "permission_denied"
  /** No answer in time. */
  | "dbus_timeout"
  /** The bus went away. */
  | "dbus_closed"
  /** The bus could not be reached. */
  | "dbus_unreachable"
  /** The answer is not what introspection promised. */
  | "dbus_bad_reply";

/** A failed call. */
export class BusError extends OpError {
  override readonly name = "BusError";
  /** The D-Bus error's name, e.g. `org.freedesktop.DBus.Error.AccessDenied`, or "". */
  readonly dbusName: string;
  /** The service's own words. */
  readonly detail: string;

  constructor(
    override readonly code: BusErrorCode,
    message: string,
    more: { dbusName?: string; detail?: string; hint?: string; cause?: unknown } = {},
  ) {
    super(code, message, more);
    this.dbusName = more.dbusName ?? "";
    this.detail = more.detail ?? "";
  }
}

/** Last parts of the names under which services refuse. */
const DENIED = [
  "AccessDenied",
  "AuthFailed",
  "InteractiveAuthorizationRequired",
  "PermissionDenied",
  "NotAuthorized",
  "NotAuthorizedException",
  "AuthorizationFailed",
];
const NO_SERVICE = [
  "ServiceUnknown",
  "NameHasNoOwner",
  "Spawn.ExecFailed",
  "Spawn.ServiceNotFound",
  "Spawn.ChildExited",
  "Spawn.ChildSignaled",
  "Spawn.Failed",
];
const UNKNOWN = ["UnknownMethod", "UnknownObject", "UnknownInterface", "UnknownProperty"];
const TIMEOUT = ["NoReply", "Timeout", "TimedOut"];

/** The kind of a D-Bus error by its name; what is unknown is the service's own error. */
export function classifyError(dbusName: string, detail = ""): BusErrorCode {
  const ends = (names: readonly string[]) =>
    names.some((name) => dbusName === name || dbusName.endsWith(`.${name}`));
  if (ends(DENIED) || /^(NotAuthorizedException|ACCESS_DENIED)\b/.test(detail)) {
    return "permission_denied";
  }
  if (ends(NO_SERVICE)) return "dbus_no_service";
  if (ends(UNKNOWN)) return "dbus_unknown";
  return ends(TIMEOUT) ? "dbus_timeout" : "dbus_error";
}

const HINTS: Partial<Record<BusErrorCode, string>> = {
  permission_denied: "run as root, or allow the action in polkit",
  dbus_no_service: "install or start the service",
  dbus_unknown: "the service may be another version: run op-dbus plugin create again",
  dbus_timeout: "check that the service is alive; a longer wait is --timeout 60s",
  dbus_closed: "check that the message bus is running",
  dbus_unreachable:
    "check that the message bus is running (DBUS_SYSTEM_BUS_ADDRESS overrides)",
};

/**
 * The error for a reply of type ERROR.
 *
 * @param what the call, e.g. `org.a.B.Do on org.a`
 */
export function replyError(what: string, dbusName: string, detail: string): BusError {
  const code = classifyError(dbusName, detail);
  // What a service says may paint the terminal; one line, no control characters.
  const words = oneLine(detail);
  return new BusError(code, `Cannot call ${what}: ${dbusName}${words && `: ${words}`}`, {
    dbusName,
    detail,
    ...hintOf(code),
  });
}

/** Any other failure of a call. */
export function callError(code: BusErrorCode, what: string, why: string): BusError {
  return new BusError(code, `Cannot call ${what}: ${why}`, hintOf(code));
}

/** The usual hint of a code, as an option. */
export function hintOf(code: BusErrorCode): { hint?: string } {
  const hint = HINTS[code];
  return hint === undefined ? {} : { hint };
}

const MAX_DETAIL_CHARS = 500;

/** Text from outside on one line, without control characters, cut to a length. */
export function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  const line = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line.length > MAX_DETAIL_CHARS ? `${line.slice(0, MAX_DETAIL_CHARS)}...` : line;
}
