import { Layout } from "../../lib/base/layout.ts";
import { InputError, LockedError, OpError } from "../../lib/base/errors.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { JOURNAL_FOUND_BLOCKS, JOURNAL_TURN_BLOCKS } from "../../lib/chain/journal.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { verifyChain } from "../../lib/chain/verify.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { appendOneByOne, chainOf, content } from "./support.ts";

Deno.test("a block is canonical JSON that sha256sum and python agree with", async () => {
  const { layout, scratch } = await chainOf(3);
  await using _ = scratch;
  const path = `${layout.timing}/blocks/2.json`;
  const script = `
import hashlib, json, sys
text = open(sys.argv[1], encoding="utf-8").read()
doc = json.loads(text)
canon = lambda v: json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
assert canon(doc) + "\\n" == text
assert hashlib.sha256(canon(doc["data"]).encode()).hexdigest() == doc["block"]["data_hash"]
print(hashlib.sha256(b"\\0" + canon(doc["block"]).encode()).hexdigest())`;
  const hash = (await sh("python3", "-c", script, path)).trim();
  using reader = new ChainReader(layout.timing);
  assertEquals(reader.read(2).hash, hash);
  assertEquals(reader.read(3).header.previous, hash);
  const { number, category, action, who, what } = reader.read(2).header;
  assertEquals([number, category, action, who, what], [
    2,
    "plugin",
    "install",
    "tester",
    "plugin-1@1.0.1",
  ]);
});

Deno.test("appends are in the order that they were asked for, from block 0", async () => {
  const { layout, scratch } = await chainOf(0);
  await using _ = scratch;
  using ledger = new Ledger(layout);
  const many = Array.from({ length: 1500 }, (_, n) => ledger.append(content(n)));
  const numbers = (await Promise.all(many)).map(({ header }) => header.number);
  assertEquals(numbers, Array.from({ length: 1500 }, (_, n) => n + 1));
  using reader = new ChainReader(layout.timing);
  assertEquals(reader.size, 1501);
  assertEquals(reader.read(0).header.action, "begin");
});

Deno.test("the journal turns over, and what another ledger appends is seen", async () => {
  const { layout, scratch } = await chainOf(5);
  await using _ = scratch;
  using one = new Ledger(layout);
  using two = new Ledger(layout);
  await appendOneByOne(one, 0, 3);
  await appendOneByOne(two, 0, 3);
  const many = JOURNAL_TURN_BLOCKS + 10;
  await Promise.all(Array.from({ length: many }, (_, n) => one.append(content(n))));
  const last = await two.append(content(99));
  assertEquals(last.header.number, 1 + 5 + 3 + 3 + many);
  const report = await verifyChain(layout.timing);
  assertEquals([report.ok, report.blocks], [true, last.header.number + 1]);
  using reader = new ChainReader(layout.timing);
  assertTrue(reader.head.frontier.size > JOURNAL_TURN_BLOCKS);
});

Deno.test("a long journal is turned over by whoever opens it, a short one is not", async () => {
  // All but the last turn, as a version wrote it that let every journal grow to 4096.
  const { layout, scratch } = await chainOf(JOURNAL_TURN_BLOCKS - 2);
  await using _ = scratch;
  const journalled = () => {
    using reader = new ChainReader(layout.timing);
    return reader.journal!.entries.length;
  };
  const appendAnew = async () => {
    using ledger = new Ledger(layout);
    await ledger.append(content(1));
  };
  assertEquals(journalled(), JOURNAL_TURN_BLOCKS - 1);
  await appendAnew();
  assertEquals(journalled(), 0);
  for (let n = 1; n <= JOURNAL_FOUND_BLOCKS; n++) {
    await appendAnew();
    assertEquals(journalled(), n);
  }
  await appendAnew();
  assertEquals(journalled(), 0);
  const { ok, blocks } = await verifyChain(layout.timing);
  assertEquals([ok, blocks], [true, JOURNAL_TURN_BLOCKS + JOURNAL_FOUND_BLOCKS + 1]);
});

Deno.test("content that is no JSON or too long is refused and leaves no trace", async () => {
  const { layout, scratch } = await chainOf(1);
  await using _ = scratch;
  using ledger = new Ledger(layout);
  const bad = [content(1, { x: NaN }), content(1, { x: "x".repeat(2 ** 20) })];
  for (const one of [...bad, { ...content(1), what: "w".repeat(5000) }]) {
    await assertRejects(async () => void await ledger.append(one), InputError);
  }
  assertEquals((await ledger.append(content(2))).header.number, 2);
});

Deno.test("block files that a copy of the disk lacks come back from the journal", async () => {
  const { layout, scratch } = await chainOf(5);
  await using _ = scratch;
  await Deno.remove(`${layout.timing}/blocks/2.json`);
  await Deno.truncate(`${layout.timing}/blocks/4.json`);
  const notices: string[] = [];
  using ledger = new Ledger(layout, { onNotice: (notice) => notices.push(notice) });
  await ledger.append(content(6));
  const { faults, blocks } = await verifyChain(layout.timing);
  assertEquals([faults, blocks], [[], 7], notices.join("\n"));
  assertTrue(
    notices.some((notice) => notice === "block 2 was restored from the journal"),
  );
});

Deno.test("a chain that another process holds is refused after the wait", async () => {
  const { layout, scratch } = await chainOf(1);
  await using _ = scratch;
  using _lock = await acquireLock(layout.lock("chain"));
  using ledger = new Ledger(layout, { lockWaitMs: 0 });
  await assertRejects(() => ledger.append(content(1)), LockedError, /is held/);
});

Deno.test("a chain without head and journal is not begun anew over its blocks", async () => {
  const { layout, scratch } = await chainOf(3);
  await using _ = scratch;
  await Deno.remove(`${layout.timing}/journal`);
  using ledger = new Ledger(layout);
  await assertRejects(() => ledger.append(content(1)), OpError, /is gone/);
});

Deno.test("a checkpoint of an empty chain is refused", async () => {
  await using scratch = await tempFolder();
  using ledger = new Ledger(new Layout(scratch.path));
  await assertRejects(() => ledger.checkpoint(), OpError, /is empty/);
});
