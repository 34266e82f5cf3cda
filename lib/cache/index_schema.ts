/** The index's schema and its versions (`PRAGMA user_version`). */
import type { DatabaseSync } from "node:sqlite";
import { OpError } from "../base/errors.ts";

/** What this op-dbus writes. */
export const SCHEMA_VERSION = 1;
/** `PRAGMA application_id`: "OPDB". */
const APPLICATION_ID = 0x4f504442;

/**
 * One row per vector. `text` is the start of the text (at most TEXT_LIMIT characters), for
 * `cache search` to show; null where an index was rebuilt from the files. `model` is null
 * there too, until the entry is next asked for.
 */
const TABLES = `
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,
  name TEXT NOT NULL,
  dimensions INTEGER NOT NULL,
  pooling TEXT NOT NULL,
  normalisation TEXT NOT NULL,
  prefix TEXT NOT NULL,
  max_tokens INTEGER NOT NULL,
  UNIQUE (digest, dimensions, pooling, normalisation, prefix, max_tokens)
);
CREATE TABLE entries (
  key BLOB PRIMARY KEY,
  model INTEGER REFERENCES models (id),
  codec INTEGER NOT NULL,
  dimensions INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  accessed_ms INTEGER NOT NULL,
  hits INTEGER NOT NULL DEFAULT 0,
  text TEXT
) WITHOUT ROWID;
CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
`;

/**
 * Makes or checks the schema. Run inside a write transaction where the index may be new.
 *
 * @throws {OpError} `index_newer` where a later op-dbus wrote it
 */
export function prepareSchema(db: DatabaseSync, path: string, readOnly: boolean): void {
  const version = pragma(db, "user_version");
  if (version === SCHEMA_VERSION) return;
  if (version > SCHEMA_VERSION) {
    throw new OpError(
      "index_newer",
      `Cannot open the cache index ${path}: a newer op-dbus made it (schema ${version}; this one knows ${SCHEMA_VERSION})`,
      { hint: "upgrade op-dbus, or choose another folder with --root" },
    );
  }
  if (hasTables(db) || readOnly) {
    throw new OpError(
      "index_foreign",
      `Cannot open the cache index ${path}: it is not an op-dbus index`,
      { hint: "op-dbus cache verify --repair sets it aside and builds a new one" },
    );
  }
  db.exec(TABLES);
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/** A pragma's number. */
export function pragma(db: DatabaseSync, name: string): number {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return Number(row ? Object.values(row)[0] : 0);
}

function hasTables(db: DatabaseSync): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() !== undefined;
}
