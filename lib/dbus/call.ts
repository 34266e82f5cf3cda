/** One method call: its parts, its answer, its errors. */
import { BusError, callError, hintOf, oneLine, replyError } from "./bus_error.ts";
import { isBusName, isInterfaceName, isMemberName, isObjectPath } from "./names.ts";
import { isBadReply, type Message, METHOD_CALL } from "./message.ts";
import { ProtocolError } from "./unmarshal.ts";
import { type Json, ValueError } from "./value.ts";

const ALLOW_INTERACTIVE = 4, NO_AUTO_START = 2;

/** One method call. */
export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Types of `args`; default none. */
  readonly signature?: string;
  /** In the notation of value.ts. */
  readonly args?: readonly Json[];
}

/** Options of one call. */
export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Let polkit ask the person at the desk. */
  readonly interactive?: boolean;
  /** Do not start the service for this call. */
  readonly noAutoStart?: boolean;
}

/** What a method returned. */
export interface Reply {
  readonly signature: string;
  readonly values: readonly Json[];
  readonly sender: string;
}

/** The interface and member of a call, and whom it is made to. */
export function describe(call: Call): string {
  return `${call.interface}.${call.member} of ${call.destination} at ${call.path}`;
}

/**
 * A reply's values when they have the types expected.
 *
 * @throws {BusError} `dbus_bad_reply`
 */
export function expectType(
  reply: Reply,
  signature: string,
  what: string,
): readonly Json[] {
  if (reply.signature === signature) return reply.values;
  throw new BusError(
    "dbus_bad_reply",
    `Cannot read ${what}: the service answered with types "${reply.signature}", ` +
      `not "${signature}"`,
    hintOf("dbus_unknown"),
  );
}

/** A call as a message. */
export function toMessage(call: Call, options: CallOptions): Message {
  return {
    type: METHOD_CALL,
    flags: (options.interactive ? ALLOW_INTERACTIVE : 0) |
      (options.noAutoStart ? NO_AUTO_START : 0),
    path: call.path,
    interface: call.interface,
    member: call.member,
    destination: call.destination,
    signature: call.signature ?? "",
    body: call.args ?? [],
  };
}

/** @throws {ValueError} when a name is not valid */
export function checkNames(call: Call): void {
  const bad = !isBusName(call.destination)
    ? `"${call.destination}" is no bus name`
    : !isObjectPath(call.path)
    ? `"${call.path}" is no object path`
    : !isInterfaceName(call.interface)
    ? `"${call.interface}" is no interface name`
    : !isMemberName(call.member)
    ? `"${call.member}" is no method name`
    : null;
  // Sent anyway, the daemon would drop the whole connection.
  if (bad) throw new ValueError("", bad);
}

/** The error of a reply that is one. */
export function errorOf(call: Call, reply: Message): BusError {
  const detail = typeof reply.body?.[0] === "string" ? reply.body[0] : "";
  if (isBadReply(reply)) {
    return callError("dbus_bad_reply", describe(call), `its answer is broken: ${detail}`);
  }
  return replyError(describe(call), reply.errorName ?? "", detail);
}

/** The error of a call that could not be sent. */
export function sendError(what: string, error: unknown): Error {
  if (error instanceof ValueError) return error;
  if (error instanceof ProtocolError) {
    return callError("dbus_error", what, oneLine(error.message));
  }
  return callError("dbus_closed", what, oneLine((error as Error).message));
}
