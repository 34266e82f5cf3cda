/**
 * Bringing SQLite databases to rest before a snapshot: writers are held off, and the
 * write-ahead log is folded into the database, so that the copy is whole without its log
 * and opens read-only (`file:...?immutable=1`).
 *
 * Source: https://www.sqlite.org/wal.html, "Checkpointing": a passive checkpoint needs
 * neither the writer's lock nor the readers' leave.
 */
import type { DatabaseSync } from "node:sqlite";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";

/**
 * SQLite's own waiting sleeps for longer than a busy writer pauses, and starves. So the
 * lock is asked for many times at once, with a short sleep between such bursts.
 */
const BURST = 200;
/** Bursts until a writer, or a reader that pins the log, is given up on. */
const MAX_BURSTS = 1000;
const PAUSE_MS = 5;

/** Databases at rest; dispose lets writers go on. */
export interface Quiesced extends Disposable {
  /** What could not be brought to rest, one line each; the snapshot is still consistent. */
  readonly notes: readonly string[];
}

/**
 * Brings databases to rest until disposed.
 *
 * @param paths database files; missing ones are skipped
 */
export async function quiesce(paths: readonly string[]): Promise<Quiesced> {
  const held: DatabaseSync[] = [], notes: string[] = [];
  for (const path of paths.filter(exists)) {
    try {
      const { DatabaseSync } = await import("node:sqlite");
      held.push(await rest(() => new DatabaseSync(path)));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      notes.push(`${path} was not checkpointed: ${why}`);
    }
  }
  return {
    notes,
    [Symbol.dispose]() {
      for (const database of held.splice(0)) {
        database.exec("ROLLBACK");
        database.close();
      }
    },
  };
}

/** Takes the writer's lock on one connection, and folds the log in by another. */
async function rest(open: () => DatabaseSync): Promise<DatabaseSync> {
  const writer = open();
  try {
    await persist(() => begin(writer), "its writers leave no pause");
    const other = open();
    try {
      await persist(() => foldLog(other), "a reader keeps its write-ahead log in use");
    } finally {
      other.close();
    }
    return writer;
  } catch (error) {
    writer.close(); // ends the transaction too
    throw error;
  }
}

async function persist(attempt: () => boolean, otherwise: string): Promise<void> {
  for (let burst = 0; burst < MAX_BURSTS; burst++) {
    for (let i = 0; i < BURST; i++) if (attempt()) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(otherwise);
}

/** Deno's node:sqlite gives no error number from exec(); this is sqlite3_errstr(5). */
const BUSY = "database is locked";

function begin(database: DatabaseSync): boolean {
  try {
    database.exec("BEGIN IMMEDIATE");
    return true;
  } catch (error) {
    if (error instanceof Error && error.message === BUSY) return false;
    throw error;
  }
}

function foldLog(database: DatabaseSync): boolean {
  const row = database.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
  return row?.busy === 0 && row.log === row.checkpointed;
}

function exists(path: string): boolean {
  try {
    statAt(AT_FDCWD, path, true);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw error;
  }
}
