/** SQLite's errors as the user's. Source: sqlite.org/rescode.html. */
import { OpError } from "../base/errors.ts";

const REPAIR_HINT =
  "op-dbus cache verify --repair sets it aside and builds a new one from the vectors";

const CODES: Readonly<Record<number, readonly [code: string, hint: string]>> = {
  5: ["busy", "another op-dbus is writing; run again"],
  6: ["busy", "another op-dbus is writing; run again"],
  8: ["read_only", "remount the file system writable, or choose another --root"],
  10: ["io_error", "check the disk (dmesg, btrfs scrub)"],
  11: ["index_damaged", REPAIR_HINT],
  13: ["no_space", "free some space (op-dbus cache clean, op-dbus snapshot prune)"],
  14: ["index_unreadable", "check the path and its permissions"],
  26: ["index_damaged", REPAIR_HINT],
};
/** Extended codes carry the primary one in their low byte. */
const PRIMARY = 0xff;
const CANTOPEN = 14;

/**
 * An error thrown by node:sqlite as an {@link OpError}; anything else as it is.
 *
 * @param path the index
 */
export function asIndexError(error: unknown, path: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (code !== "ERR_SQLITE_ERROR") return error;
  // Deno leaves the number out when opening fails.
  const number = typeof errcode === "number" ? errcode & PRIMARY : CANTOPEN;
  const [ownCode, hint] = CODES[number] ?? ["index_failed", REPAIR_HINT];
  const why = error.message.replace(`: ${path}`, "");
  return new OpError(ownCode, `Cannot use the cache index ${path}: ${why}`, {
    hint,
    cause: error,
  });
}
