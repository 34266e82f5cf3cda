/** The audit chain: appends, verification, search, and what it leaves of a hot cache. */
import type { Layout } from "../../lib/base/layout.ts";
import type { Ledger } from "../../lib/chain/ledger.ts";
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";
import { memoryCgroup } from "./children/cgroup.ts";

const SEARCHED_BLOCKS = 5000;
const GROUP = 2000;
const HOT_MB = 64, WRITTEN_MB = 600, LIMIT_MB = 256;

const record = (n: number) => ({
  category: "plugin",
  action: "install",
  who: "bench",
  what: `plugin-${n}@1.0.${n}`,
  data: { n, digest: "0123456789abcdef".repeat(4), source: "file", signed: true },
});

async function openLedger(scratch: string): Promise<{ layout: Layout; ledger: Ledger }> {
  const { Layout } = await import("../../lib/base/layout.ts");
  const { Ledger } = await import("../../lib/chain/ledger.ts");
  const layout = new Layout(await Deno.makeTempDir({ dir: scratch }));
  return { layout, ledger: new Ledger(layout) };
}

/** The same records in SQLite with a durable WAL. */
async function openSqlite(scratch: string) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(`${await Deno.makeTempDir({ dir: scratch })}/log.db`);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  db.exec("CREATE TABLE log (number INTEGER PRIMARY KEY, body TEXT NOT NULL)");
  const insert = db.prepare("INSERT INTO log (body) VALUES (?)");
  return { db, add: (n: number) => insert.run(JSON.stringify(record(n))) };
}

async function appendRows({ scratch }: BenchContext): Promise<Row[]> {
  const { ledger } = await openLedger(scratch);
  const { db, add } = await openSqlite(scratch);
  let n = 0;
  const [one, oneSql] = await sideBySide(
    [() => ledger.append(record(n++)), () => add(n++)],
    { rounds: 101, warmup: 20 },
  );
  const [many, manySql] = await sideBySide([
    () => Promise.all(Array.from({ length: GROUP }, () => ledger.append(record(n++)))),
    () => {
      db.exec("BEGIN IMMEDIATE");
      for (let i = 0; i < GROUP; i++) add(n++);
      db.exec("COMMIT");
    },
  ], { rounds: 5, warmup: 1 });
  ledger[Symbol.dispose]();
  db.close();
  const each = (ms: number) => ms * 1000 / GROUP;
  const peer = "SQLite, WAL, synchronous FULL";
  return [
    row("chain-append/one", "ms", "lower", one!, { name: peer, value: oneSql! }),
    row("chain-append/group", "µs", "lower", each(many!), {
      name: `${peer}, one transaction`,
      value: each(manySql!),
    }),
  ];
}

async function filled(scratch: string, blocks: number) {
  const { layout, ledger } = await openLedger(scratch);
  for (let at = 0; at < blocks; at += GROUP) {
    const count = Math.min(GROUP, blocks - at);
    await Promise.all(
      Array.from({ length: count }, (_, i) => ledger.append(record(at + i))),
    );
  }
  await ledger.checkpoint();
  ledger[Symbol.dispose]();
  return layout;
}

async function verifyRows({ scratch, note }: BenchContext): Promise<Row[]> {
  const { verifyChain } = await import("../../lib/chain/verify.ts");
  const blocks = 100_000;
  note(`writing ${blocks} blocks`);
  const layout = await filled(scratch, blocks);
  const script = "find . -name '*.json' -print0 | xargs -0 sha256sum > /dev/null";
  const sums = new Deno.Command("sh", {
    args: ["-c", script],
    cwd: `${layout.timing}/blocks`,
  });
  const [ours, theirs] = await sideBySide([
    () => verifyChain(layout.timing),
    () => sums.output(),
  ], { rounds: 3, warmup: 1 });
  const perSecond = (ms: number) => blocks / ms * 1000;
  return [row("chain-verify", "blocks/s", "higher", perSecond(ours!), {
    name: "sha256sum of the same files",
    value: perSecond(theirs!),
  })];
}

async function searchRows({ scratch }: BenchContext): Promise<Row[]> {
  const { searchText } = await import("../../lib/chain/search.ts");
  const { ChainReader } = await import("../../lib/chain/reader.ts");
  const { Footprints } = await import("../../lib/chain/footprints.ts");
  const { BuiltinEmbedder } = await import("../../lib/embed/builtin.ts");
  const layout = await filled(scratch, SEARCHED_BLOCKS);
  const embedder = new BuiltinEmbedder();
  const { digest, dimensions } = embedder.identity;
  using reader = new ChainReader(layout.timing);
  using footprints = new Footprints(layout.chainVectors, {
    identity: digest,
    dimensions,
    async embed(texts) {
      const { matrix } = await embedder.embed(texts);
      return texts.map((_, i) => matrix.slice(i * dimensions, (i + 1) * dimensions));
    },
  });
  await footprints.catchUp(reader);
  const grep = new Deno.Command("sh", {
    args: ["-c", "find . -name '*.json' -print0 | xargs -0 grep -l plugin-77@"],
    cwd: `${layout.timing}/blocks`,
  });
  const [words, meaning, grepped] = await sideBySide([
    () => searchText(reader, "plugin-77@", 10),
    () => footprints.search(reader, "who installed plugin 77", 10),
    () => grep.output(),
  ], { rounds: 5, warmup: 1 });
  const peer = { name: "grep over the same files", value: grepped! };
  return [
    row(`chain-search/words-${SEARCHED_BLOCKS}`, "ms", "lower", words!, peer),
    row(`chain-search/semantic-${SEARCHED_BLOCKS}`, "ms", "lower", meaning!, peer),
  ];
}

async function isolationRows({ scratch, note }: BenchContext): Promise<Row[]> {
  const shares: Record<string, number> = {};
  const hot = `${scratch}/hot`;
  for (let i = 0; i < HOT_MB; i++) {
    const bytes = new Uint8Array(1024 * 1024).map((_, at) => at * 31 + i);
    await Deno.writeFile(hot, bytes, { append: true });
  }
  await new Deno.Command("sync", { args: [hot] }).output();
  for (const mode of ["chain", "plain"]) {
    await using cgroup = await memoryCgroup(LIMIT_MB * 1024 * 1024);
    await new Deno.Command("dd", {
      args: [`of=${hot}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"],
      stderr: "null",
    }).output();
    const folder = await Deno.makeTempDir({ dir: scratch });
    const child = new URL("./children/chain_isolation.ts", import.meta.url).pathname;
    const text = await cgroup.run(
      Deno.execPath(),
      ...["run", "--quiet", "-A", child, mode, hot, folder, String(WRITTEN_MB)],
    );
    shares[mode] = JSON.parse(text).after * 100;
    await Deno.remove(folder, { recursive: true });
  }
  const about = `${WRITTEN_MB} MB written beside ${HOT_MB} MB in ${LIMIT_MB} MB`;
  note(about);
  return [
    row("chain-isolation/chain", "% resident", "higher", shares.chain!),
    row("chain-isolation/plain-writer", "% resident", "higher", shares.plain!),
  ];
}

export const benches: Bench[] = [
  {
    name: "chain-append",
    about: "durable appends, one by one and in groups",
    run: appendRows,
  },
  { name: "chain-verify", about: "checking a whole chain", run: verifyRows },
  { name: "chain-search", about: "finding blocks by words and meaning", run: searchRows },
  {
    name: "chain-isolation",
    about: "what a chain leaves of a hot cache in a memory-limited cgroup (root)",
    run: isolationRows,
  },
];
