/** The index: one SQLite row per vector, models, and counters that outlive a process. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { OpError } from "../base/errors.ts";
import type { ModelIdentity } from "../embed/embedder.ts";
import type { Durability } from "./loose.ts";
import { asIndexError, sqliteCode } from "./index_errors.ts";
import { prepareSchema } from "./index_schema.ts";
import { KEY_BYTES } from "./key.ts";

/** Characters of a text that are kept beside its vector. */
export const TEXT_LIMIT = 4096;
/** How long a writer waits for another process's transaction. */
const BUSY_TIMEOUT_MS = 30_000;
const BUSY_POLL_MS = 5;
/** SQLITE_BUSY. */
const SQLITE_BUSY = 5;
/** The write-ahead log is folded into the database past this many pages. */
const CHECKPOINT_PAGES = 4000;

/** A row to write. */
export interface NewEntry {
  readonly key: string;
  readonly codec: number;
  readonly dimensions: number;
  readonly sizeBytes: number;
  /** Null where it is not known (an index rebuilt from the files). */
  readonly text: string | null;
}

/** What a use of an entry adds to its row. */
export interface Access {
  readonly key: string;
  hits: number;
  readonly accessedMs: number;
  readonly text: string;
}

/** How to open an index. */
export interface IndexOptions {
  readonly readOnly?: boolean;
  readonly durability?: Durability;
}

export type Row = Record<string, unknown>;
type Value = null | number | bigint | string | Uint8Array;

/** The opened index. Every error of SQLite comes out as an {@link OpError}. */
export class CacheIndex implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #models = new Map<ModelIdentity, number>();
  #depth = 0;

  private constructor(
    db: DatabaseSync,
    readonly path: string,
    readonly readOnly: boolean,
  ) {
    this.#db = db;
  }

  /**
   * Opens an index, making it where it is missing.
   *
   * @param path the database file; its folder exists
   * @throws {OpError} `index_damaged`, `index_newer`, `index_foreign`, `index_unreadable`
   */
  static open(path: string, options: IndexOptions = {}): CacheIndex {
    const readOnly = options.readOnly ?? false;
    let db: DatabaseSync | undefined;
    try {
      db = readOnly ? openReadOnly(path) : new DatabaseSync(path);
      const index = new CacheIndex(db, path, readOnly);
      index.#configure(options.durability ?? "full");
      return index;
    } catch (error) {
      db?.close();
      throw asIndexError(error, path);
    }
  }

  #configure(durability: Durability): void {
    const db = this.#db;
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    if (this.readOnly) return prepareSchema(db, this.path, true);
    this.#useWal();
    db.exec(`PRAGMA synchronous = ${durability === "full" ? "FULL" : "NORMAL"}`);
    db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    db.exec("BEGIN IMMEDIATE");
    try {
      prepareSchema(db, this.path, false);
      db.exec("COMMIT");
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    }
  }

  /**
   * Write-ahead log, so that readers and a writer do not wait for each other. SQLite does
   * not call its busy handler while two processes change the mode of a new database at
   * once: it says "locked" at once.
   */
  #useWal(): void {
    const deadline = Date.now() + BUSY_TIMEOUT_MS;
    for (;;) {
      try {
        const row = this.#db.prepare("PRAGMA journal_mode").get();
        if (row?.journal_mode !== "wal") this.#db.exec("PRAGMA journal_mode = WAL");
        return;
      } catch (error) {
        if (sqliteCode(error) !== SQLITE_BUSY || Date.now() > deadline) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_POLL_MS);
      }
    }
  }

  /** Runs `body` in one write transaction; nested calls join the outer one. */
  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.#exec("BEGIN IMMEDIATE");
    this.#depth++;
    try {
      const result = body();
      this.#exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#exec("ROLLBACK");
      throw error;
    } finally {
      this.#depth--;
    }
  }

  #exec(sql: string): void {
    try {
      this.#db.exec(sql);
    } catch (error) {
      throw asIndexError(error, this.path);
    }
  }

  /** Runs a statement; prepared once. Returns how many rows it changed. */
  run(sql: string, ...values: Value[]): number {
    return this.#guard(sql, (statement) => Number(statement.run(...values).changes));
  }

  /** The first row, if any. */
  get(sql: string, ...values: Value[]): Row | undefined {
    return this.#guard(sql, (statement) => statement.get(...values));
  }

  /** All rows. */
  all(sql: string, ...values: Value[]): Row[] {
    return this.#guard(sql, (statement) => statement.all(...values));
  }

  /** The rows one by one; nothing else may use the same statement meanwhile. */
  *iterate(sql: string, ...values: Value[]): Generator<Row> {
    const rows = this.#guard(sql, (statement) => statement.iterate(...values));
    try {
      yield* rows;
    } catch (error) {
      throw asIndexError(error, this.path);
    }
  }

  #guard<T>(sql: string, use: (statement: StatementSync) => T): T {
    try {
      let statement = this.#statements.get(sql);
      if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
      return use(statement);
    } catch (error) {
      throw asIndexError(error, this.path);
    }
  }

  /** The number of a model's row, made where it is missing (null when read-only). */
  modelId(identity: ModelIdentity): number | null {
    const known = this.#models.get(identity);
    if (known !== undefined) return known;
    const unique = [
      identity.digest,
      identity.dimensions,
      identity.pooling,
      identity.normalisation,
      identity.prefix,
      identity.maxTokens,
    ];
    const find = () =>
      this.get(
        `SELECT id FROM models WHERE digest = ? AND dimensions = ? AND pooling = ?
           AND normalisation = ? AND prefix = ? AND max_tokens = ?`,
        ...unique,
      );
    let row = find();
    if (!row && !this.readOnly) {
      this.run(
        `INSERT OR IGNORE INTO models
           (digest, dimensions, pooling, normalisation, prefix, max_tokens, name)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ...unique,
        identity.name,
      );
      row = find();
    }
    if (!row) return null;
    const id = Number(row.id);
    // Inside a transaction the row may yet be rolled back.
    if (this.#depth === 0) this.#models.set(identity, id);
    return id;
  }

  /** True where the index has a row of that key. */
  has(key: string): boolean {
    return this.get("SELECT 1 FROM entries WHERE key = ?", fromHex(key)) !== undefined;
  }

  /** The keys that begin with some bytes, at least one. */
  *keysFrom(start: Uint8Array): Generator<Uint8Array> {
    const last = new Uint8Array(KEY_BYTES).fill(0xff);
    last.set(start);
    const sql = "SELECT key FROM entries WHERE key BETWEEN ? AND ?";
    for (const { key } of this.all(sql, start, last)) yield key as Uint8Array;
  }

  /** True where the index has a row of that key and model. */
  isOf(key: string, model: number): boolean {
    const sql = "SELECT 1 FROM entries WHERE key = ? AND model = ?";
    return this.get(sql, fromHex(key), model) !== undefined;
  }

  /** When a row was last used, as far as it knows; null where there is no row. */
  accessedMs(key: string): number | null {
    const row = this.get(
      "SELECT accessed_ms AS ms FROM entries WHERE key = ?",
      fromHex(key),
    );
    return row ? Number(row.ms) : null;
  }

  /** Writes or replaces a row; the hits of a replaced one stay. */
  put(entry: NewEntry, model: number | null, nowMs: number): void {
    this.run(
      `INSERT INTO entries
         (key, model, codec, dimensions, size_bytes, created_ms, accessed_ms, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)
       ON CONFLICT (key) DO UPDATE SET model = ifnull(?2, model), codec = ?3,
         dimensions = ?4, size_bytes = ?5, accessed_ms = ?6, text = ifnull(?7, text)`,
      fromHex(entry.key),
      model,
      entry.codec,
      entry.dimensions,
      entry.sizeBytes,
      nowMs,
      entry.text === null ? null : entry.text.slice(0, TEXT_LIMIT),
    );
  }

  /**
   * Adds uses to a row, and what a rebuilt index does not know: the model and the text.
   * @returns false when there is no such row
   */
  addAccess(access: Access, model: number | null): boolean {
    return this.run(
      `UPDATE entries SET hits = hits + ?2, accessed_ms = max(accessed_ms, ?3),
         model = ifnull(model, ?4), text = ifnull(text, ?5) WHERE key = ?1`,
      fromHex(access.key),
      access.hits,
      access.accessedMs,
      model,
      access.text.slice(0, TEXT_LIMIT),
    ) > 0;
  }

  /** Adds to a counter that outlives this process. */
  count(name: string, by: number): void {
    if (by === 0) return;
    this.run(
      `INSERT INTO counters VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = value + ?2`,
      name,
      by,
    );
  }

  /** A counter's value; 0 where it was never counted. */
  counter(name: string): number {
    return Number(
      this.get("SELECT value FROM counters WHERE name = ?", name)?.value ?? 0,
    );
  }

  /** Removes rows. */
  remove(keys: Iterable<string>): void {
    for (const key of keys) this.run("DELETE FROM entries WHERE key = ?", fromHex(key));
  }

  /** Folds the write-ahead log into the database, as far as readers allow. */
  checkpoint(): void {
    if (!this.readOnly) this.#exec("PRAGMA wal_checkpoint(PASSIVE)");
  }

  /** What SQLite finds wrong with its own file; none when it is sound. */
  check(): string[] {
    try {
      return this.all("PRAGMA quick_check(20)").map((row) => String(row.quick_check))
        .filter((line) => line !== "ok");
    } catch (error) {
      if (error instanceof OpError && error.code === "index_damaged") {
        return [error.message];
      }
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/**
 * A read-only snapshot has no room for the shared-memory file that WAL wants; SQLite then
 * reads the file as one that nobody changes, which is true there.
 */
function openReadOnly(path: string): DatabaseSync {
  try {
    const db = new DatabaseSync(path, { readOnly: true });
    try {
      db.prepare("PRAGMA user_version").get();
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    const known = asIndexError(error, path);
    const tryAsFixed = known instanceof OpError &&
      (known.code === "index_unreadable" || known.code === "read_only");
    if (!tryAsFixed) throw error;
    const url = `file:${encodeURIComponent(path).replaceAll("%2F", "/")}?immutable=1`;
    return new DatabaseSync(url, { readOnly: true });
  }
}

const scratch = new Uint8Array(KEY_BYTES);

/** A key's bytes, valid until the next call (SQLite copies what it binds). */
function fromHex(key: string): Uint8Array {
  scratch.setFromHex(key);
  return scratch;
}
