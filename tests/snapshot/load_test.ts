import { DatabaseSync } from "node:sqlite";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { platformTest, sh } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";

const T0 = Date.UTC(2025, 0, 15, 10);

/** Rows of a copy of the database that is opened with its write-ahead log. */
async function rowsWithLog(folder: string, scratch: string): Promise<number> {
  await sh("cp", "-r", folder, `${scratch}/copy`);
  const copy = new DatabaseSync(`${scratch}/copy/index.db`);
  const rows = Number(copy.prepare("SELECT count(*) n FROM t").get()!.n);
  copy.close();
  await Deno.remove(`${scratch}/copy`, { recursive: true });
  return rows;
}

/** Writes rows as fast as it can, in WAL mode, until it is killed. */
const WRITER = `
  import { DatabaseSync } from "node:sqlite";
  const db = new DatabaseSync(Deno.args[0], { timeout: 60000 });
  db.exec("PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t (a INTEGER, b INTEGER)");
  console.log("ready");
  for (let i = 0; ; i++) {
    db.exec("BEGIN IMMEDIATE");
    db.prepare("INSERT INTO t VALUES (?, 0)").run(i);
    db.prepare("INSERT INTO t VALUES (?, 1)").run(i);
    db.exec("COMMIT");
  }
`;

platformTest(
  "under load, every snapshot's index.db opens clean, whole and read-only",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache");
    const script = `${root.mount}/writer.ts`;
    await Deno.writeTextFile(script, WRITER);
    await using writer = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, root.layout.index],
      stdout: "piped",
    }).spawn();
    const reader = writer.stdout.getReader();
    await reader.read(); // "ready"
    let last = 0;
    for (let i = 0; i < 12; i++) {
      const { path, notes } = await createSnapshot(cache, { nowMs: T0 + i * 60_000 });
      assertEquals(notes, []);
      const url = new URL(`file://${path}/embeddings/index.db?immutable=1`);
      const copy = new DatabaseSync(url, { readOnly: true });
      assertEquals(copy.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
      const row = copy.prepare("SELECT count(*) n, sum(b) ones FROM t").get()!;
      assertEquals(Number(row.n), 2 * Number(row.ones));
      assertTrue(Number(row.n) >= last);
      last = Number(row.n);
      copy.close();
      assertEquals(await rowsWithLog(`${path}/embeddings`, root.mount), last);
    }
    assertTrue(last > 0, "the writer wrote");
    writer.kill("SIGKILL");
    await reader.cancel();
    await writer.status;
  },
);
