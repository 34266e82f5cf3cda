// @ts-nocheck: plain JavaScript, runs under Node
/**
 * A peer store: filled with `count` vectors, then asked for random ones by text.
 * Arguments: kind (lmdb, sqlite), folder, count, lookups. Prints microseconds per lookup,
 * one median of rounds, as JSON.
 */
const [kind, folder, countText, lookupsText] = process.argv.slice(2);
const count = Number(countText), lookups = Number(lookupsText);
const DIMENSIONS = 384, ROUNDS = 7;

const textOf = (i) => `a text of some fifty characters, the one number ${i}`;

async function openLmdb() {
  const { open } = await import("lmdb");
  const db = open({ path: `${folder}/lmdb`, encoding: "binary", compression: false });
  return {
    put: (text, bytes) => db.put(text, bytes),
    flush: () => db.flushed,
    get: (text) => db.getBinary(text),
  };
}

async function openSqlite() {
  const { default: Database } = await import("better-sqlite3");
  const db = new Database(`${folder}/peer.db`);
  db.pragma("journal_mode = WAL");
  db.exec("CREATE TABLE v (text TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID");
  const insert = db.prepare("INSERT INTO v VALUES (?, ?)");
  const select = db.prepare("SELECT vector FROM v WHERE text = ?").pluck();
  db.exec("BEGIN");
  return {
    put: (text, bytes) => insert.run(text, bytes),
    flush: () => db.exec("COMMIT"),
    get: (text) => select.get(text),
  };
}

const store = await (kind === "lmdb" ? openLmdb() : openSqlite());
for (let i = 0; i < count; i++) {
  const vector = new Float32Array(DIMENSIONS).fill(i);
  const done = store.put(textOf(i), Buffer.from(vector.buffer));
  if (i % 1000 === 0) await done;
}
await store.flush();

/** A usable vector: floats at an address that floats may have. */
function get(text) {
  const bytes = store.get(text);
  return new Float32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  );
}

const times = [];
for (let round = -2; round < ROUNDS; round++) {
  const texts = Array.from(
    { length: lookups },
    () => textOf(Math.floor(Math.random() * count)),
  );
  const begun = performance.now();
  let sum = 0;
  for (const text of texts) sum += get(text)[0];
  if (round >= 0) times.push((performance.now() - begun) * 1000 / lookups);
  if (sum < 0) throw new Error("Wrong vectors");
}
times.sort((a, b) => a - b);
console.log(JSON.stringify({ us: times[times.length >> 1] }));
process.exit(0);
