/**
 * The seed's hit path to the letter, for comparison: SHA-256 of the text, SQLite row with
 * a TEXT key, file, zstd, UPDATE of the access count on every hit.
 */
import { hash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";

/** A cache as the seed describes it. */
export class SeedCache implements Disposable {
  readonly #db: DatabaseSync;

  /** @param folder exists, empty */
  constructor(readonly folder: string) {
    Deno.mkdirSync(`${folder}/vectors`, { recursive: true });
    this.#db = new DatabaseSync(`${folder}/index.db`);
    this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    this.#db.exec(`CREATE TABLE IF NOT EXISTS embeddings (
      text_hash TEXT PRIMARY KEY, text TEXT, vector_file TEXT, created_at INTEGER,
      last_accessed INTEGER, access_count INTEGER)`);
  }

  put(texts: readonly string[], matrix: Float32Array): void {
    const dimensions = matrix.length / texts.length;
    const insert = this.#db.prepare(
      "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, 0)",
    );
    this.#db.exec("BEGIN");
    texts.forEach((text, i) => {
      const key = hash("sha256", text, "hex");
      const row = matrix.slice(i * dimensions, (i + 1) * dimensions);
      const file = `${key}.bin`;
      const bytes = zstdCompressSync(new Uint8Array(row.buffer));
      Deno.writeFileSync(`${this.folder}/vectors/${file}`, bytes);
      insert.run(key, text, file, Date.now(), Date.now());
    });
    this.#db.exec("COMMIT");
  }

  /** One hit, as the seed's `get_or_embed` does it: statements are prepared each time. */
  get(text: string): Float32Array | null {
    const key = hash("sha256", text, "hex");
    const row = this.#db.prepare(
      "SELECT vector_file FROM embeddings WHERE text_hash = ?",
    ).get(key);
    if (!row) return null;
    const bytes = zstdDecompressSync(
      Deno.readFileSync(`${this.folder}/vectors/${row.vector_file}`),
    );
    this.#db.prepare(
      `UPDATE embeddings SET last_accessed = ?, access_count = access_count + 1
         WHERE text_hash = ?`,
    ).run(Date.now(), key);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4).slice();
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}
