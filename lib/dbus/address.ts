/**
 * Where a bus is. Source: D-Bus specification, "Server Addresses".
 */
import { InputError } from "../base/errors.ts";

/** The system bus where the environment says nothing. */
const SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket";

/** One address that can be connected to. */
export type Address =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** Reads environment variables; tests hand in their own. */
export type Environment = (name: string) => string | undefined;

/**
 * The address of a bus.
 *
 * @param where `system`, `session`, or an address
 * @throws {InputError} when there is no session bus
 */
export function busAddress(
  where: string,
  env: Environment = (name) => Deno.env.get(name),
): string {
  if (where === "system") return env("DBUS_SYSTEM_BUS_ADDRESS") || SYSTEM_BUS;
  if (where !== "session") return where;
  const given = env("DBUS_SESSION_BUS_ADDRESS");
  if (given) return given;
  const runtime = env("XDG_RUNTIME_DIR");
  if (runtime) return `unix:path=${encodeURI(runtime)}/bus`;
  throw new InputError("no_session_bus", "Cannot find the session bus", {
    hint: "set DBUS_SESSION_BUS_ADDRESS, or use --bus system",
  });
}

/**
 * Parses an address list.
 *
 * @throws {InputError} when none of it can be used, saying why
 */
export function parseAddresses(list: string): Address[] {
  const found: Address[] = [];
  const reasons: string[] = [];
  for (const text of list.split(";").filter((part) => part !== "")) {
    const parsed = parseAddress(text);
    if (typeof parsed === "string") reasons.push(parsed);
    else found.push(parsed);
  }
  if (found.length > 0) return found;
  throw new InputError(
    "bad_bus_address",
    `Cannot use the bus address "${list}": ${reasons.join("; ") || "it is empty"}`,
    { hint: "use unix:path=/path/of/socket or tcp:host=127.0.0.1,port=1234" },
  );
}

function parseAddress(text: string): Address | string {
  const colon = text.indexOf(":");
  const kind = text.slice(0, colon);
  const values = new Map<string, string>();
  for (const pair of text.slice(colon + 1).split(",").filter((part) => part !== "")) {
    const equals = pair.indexOf("=");
    if (equals < 1) return `"${pair}" is not key=value`;
    try {
      values.set(pair.slice(0, equals), decodeURIComponent(pair.slice(equals + 1)));
    } catch (error) {
      if (error instanceof URIError) return `"${pair}" is escaped wrongly`;
      throw error;
    }
  }
  if (kind === "unix") return unixAddress(values);
  if (kind !== "tcp") return `"${kind}" is no kind of address that op-dbus speaks`;
  const host = values.get("host") ?? "localhost", port = Number(values.get("port"));
  if (!Number.isInteger(port) || port < 1 || port > 65535) return "tcp needs a port";
  return { kind, host, port };
}

function unixAddress(values: Map<string, string>): Address | string {
  const path = values.get("path");
  if (values.has("abstract")) return "abstract sockets cannot be reached from Deno";
  if (path === undefined) return "unix needs a path";
  if (!path.startsWith("/") || path.includes("\0")) {
    return `"${path}" is no absolute path`;
  }
  // dbus-next splits its address at these and has no escapes.
  if (/[:,=;]/.test(path)) return `a path with one of : , = ; in it ("${path}")`;
  return { kind: "unix", path };
}
