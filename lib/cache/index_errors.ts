/** SQLite's errors as the user's. Source: sqlite.org/rescode.html. */
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  O_CREAT,
  O_EXCL,
  O_RDWR,
  O_WRONLY,
  open,
  unlinkAt,
} from "../../ffi/files.ts";
import { temporaryBeside } from "../base/durable.ts";
import { asOpError, OpError } from "../base/errors.ts";

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

/** Deno leaves the number out when opening or a pragma fails: SQLite's own texts tell. */
const TEXTS: readonly (readonly [text: string, code: number])[] = [
  ["database is locked", 5],
  ["attempt to write a readonly database", 8],
  ["disk I/O error", 10],
  ["database disk image is malformed", 11],
  ["database or disk is full", 13],
  ["unable to open database file", CANTOPEN],
  ["file is not a database", 26],
];

/** SQLite's primary result code of an error; 0 when it is none of SQLite's. */
export function sqliteCode(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (code !== "ERR_SQLITE_ERROR") return 0;
  if (typeof errcode === "number") return errcode & PRIMARY;
  return TEXTS.find(([text]) => error.message.includes(text))?.[1] ?? CANTOPEN;
}

/**
 * An error thrown by node:sqlite as an {@link OpError}; anything else as it is.
 *
 * @param path the index
 */
export function asIndexError(error: unknown, path: string): unknown {
  const number = sqliteCode(error);
  if (number === 0) return error;
  const reason = number === CANTOPEN ? whyNotOpened(path) : null;
  if (reason) return asOpError(reason, `Cannot use the cache index ${path}`);
  const [code, hint] = CODES[number] ?? ["index_failed", REPAIR_HINT];
  const why = (error as Error).message.replace(`: ${path}`, "");
  return new OpError(code, `Cannot use the cache index ${path}: ${why}`, {
    hint,
    cause: error,
  });
}

/**
 * The system's own reason: SQLite says no more than "unable to open". It needs the file
 * itself, and new files beside it.
 */
function whyNotOpened(path: string): unknown {
  const beside = temporaryBeside(path);
  try {
    close(open(path, O_RDWR));
  } catch (error) {
    if (!isSysError(error, "ENOENT")) return error;
  }
  try {
    close(open(beside, O_WRONLY | O_CREAT | O_EXCL, 0o600));
    unlinkAt(AT_FDCWD, beside);
    return null;
  } catch (error) {
    return error;
  }
}
