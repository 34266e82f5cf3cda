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
/** Deno leaves the number out where opening or exec() fails; the text is SQLite's own. */
const TEXTS: readonly (readonly [text: string, code: number])[] = [
  ["database is locked", 5],
  ["readonly database", 8],
  ["disk I/O error", 10],
  ["malformed", 11],
  ["database or disk is full", 13],
  ["unable to open", 14],
  ["not a database", 26],
];

/**
 * An error thrown by node:sqlite as an {@link OpError}; anything else as it is.
 *
 * @param path the index
 */
export function asIndexError(error: unknown, path: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (code !== "ERR_SQLITE_ERROR") return error;
  const number = typeof errcode === "number"
    ? errcode & PRIMARY
    : TEXTS.find(([text]) => error.message.includes(text))?.[1] ?? 0;
  const [ownCode, hint] = CODES[number] ?? ["index_failed", REPAIR_HINT];
  const why = error.message.replace(`: ${path}`, "");
  return new OpError(ownCode, `Cannot use the cache index ${path}: ${why}`, {
    hint,
    cause: error,
  });
}
