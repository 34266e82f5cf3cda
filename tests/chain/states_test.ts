import { Layout } from "../../lib/base/layout.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { BlockCache } from "../../lib/chain/block_cache.ts";
import { compactChain, planCompaction } from "../../lib/chain/compact.ts";
import { exportBlocks } from "../../lib/chain/export.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { leafHash, verifyConsistency, verifyInclusion } from "../../lib/chain/merkle.ts";
import { proveConsistency, proveInclusion } from "../../lib/chain/proofs.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { recoverChain } from "../../lib/chain/recover.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { stateAt } from "../../lib/chain/states.ts";
import { verifyChain } from "../../lib/chain/verify.ts";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { chainOf, content } from "./support.ts";

const state = (port: number, ...more: string[]) => ({
  version: 1 as const,
  plugins: Object.fromEntries([
    ["firewalld", { ports: [port] }],
    ...more.map((n) => [n, {}]),
  ]),
});
const apply = { category: "state", action: "apply", subject: "firewalld", data: {} };

Deno.test("the state of any block can be had again, and the current one is a file", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(scratch.path);
  using recorder = new ChainRecorder(layout);
  await recorder.append(apply, state(80, "lxc"));
  await recorder.record({ ...apply, action: "noop" });
  await recorder.append(apply, state(443));
  using reader = new ChainReader(layout.timing);
  assertEquals(stateAt(layout, reader, 0), null);
  assertEquals(stateAt(layout, reader, 1)?.state, state(80, "lxc"));
  assertEquals(stateAt(layout, reader, 2)?.number, 1);
  assertEquals(stateAt(layout, reader, 3)?.state, state(443));
  const read = (name: string) =>
    JSON.parse(Deno.readTextFileSync(`${layout.state}/${name}`));
  assertEquals(read("current.json"), state(443));
  assertEquals(read("plugins/firewalld.json"), state(443));
  const plugins = [...Deno.readDirSync(`${layout.state}/plugins`)].map(({ name }) =>
    name
  );
  assertEquals(plugins, ["firewalld.json"]);

  const { hash } = stateAt(layout, reader, 1)!;
  for (const name of ["current.json", "plugins/firewalld.json", `objects/${hash}.json`]) {
    assertEquals(Deno.statSync(`${layout.state}/${name}`).mode! & 0o777, 0o600, name);
  }
  await Deno.writeTextFile(`${layout.state}/objects/${hash}.json`, "{}");
  assertThrows(() => stateAt(layout, reader, 1), OpError, /it is damaged/);
  const bad = { version: 1 as const, plugins: { "../x": {} } };
  await assertRejects(() => recorder.append(apply, bad), InputError);
});

Deno.test("compaction drops data, keeps every hash, and is no fault", async () => {
  const { layout, scratch } = await chainOf(30);
  await using _ = scratch;
  using ledger = new Ledger(layout);
  const root = (await verifyChain(layout.timing)).root;
  using before = new ChainReader(layout.timing);
  const plan = await planCompaction(before, 10);
  assertEquals([plan.last, plan.blocks], [20, 21]);
  await compactChain(ledger, plan, "tester");
  const report = await verifyChain(layout.timing);
  assertEquals([report.ok, report.notes, report.compacted], [true, [], 21]);
  using reader = new ChainReader(layout.timing);
  assertEquals([reader.read(20).data, reader.read(21).data], [null, { n: 20 }]);
  const proof = await proveInclusion(reader, 20, 31);
  assertEquals(proof.root, root);
  assertEquals((await planCompaction(reader, 11)).blocks, 0);
});

Deno.test("proofs are those that a checkpoint's holder can check", async () => {
  const { layout, scratch } = await chainOf(20);
  await using _ = scratch;
  using reader = new ChainReader(layout.timing);
  const hex = Uint8Array.fromHex;
  const { block, hash, size, root, path } = await proveInclusion(reader, 7);
  const bytes = await Deno.readFile(`${layout.timing}/blocks/7.json`);
  const text = new TextDecoder().decode(bytes);
  const header = text.slice('{"block":'.length, text.indexOf(',"data":'));
  assertEquals(leafHash(new TextEncoder().encode(header)).toHex(), hash);
  assertTrue(verifyInclusion(hex(hash), block, size, path.map(hex), hex(root)));
  const older = await proveConsistency(reader, 9);
  assertTrue(
    verifyConsistency(9, size, hex(older.old_root), hex(older.root), older.path.map(hex)),
  );
  await assertRejects(() => proveInclusion(reader, 21), OpError, /the chain has 21/);
});

Deno.test("blocks are found by hash, also after their links were cleared", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(scratch.path);
  using recorder = new ChainRecorder(layout);
  const { hash } = await recorder.append(apply);
  await recorder.record(apply);
  using reader = new ChainReader(layout.timing);
  const cache = new BlockCache(layout);
  const byHash = `${layout.blocksByHash}/${hash}.json`;
  assertEquals(Deno.readTextFileSync(byHash), new TextDecoder().decode(reader.bytes(1)));
  assertEquals(Deno.readLinkSync(byHash), "../by-number/1.json");
  await Deno.remove(`${layout.cache}/blocks`, { recursive: true });
  assertEquals(await cache.find(reader, hash), 1);
  assertEquals(Deno.readTextFileSync(byHash), new TextDecoder().decode(reader.bytes(1)));
  // A link that somebody bent is not believed.
  await Deno.remove(byHash);
  await Deno.symlink("../by-number/2.json", byHash);
  assertEquals(await cache.find(reader, hash), 1);
  await assertRejects(() => cache.find(reader, "ab".repeat(32)), OpError, /No block has/);
});

Deno.test("an export is the blocks, byte for byte", async () => {
  const { layout, scratch } = await chainOf(10);
  await using _ = scratch;
  using reader = new ChainReader(layout.timing);
  const lines: string[] = [];
  for await (const line of exportBlocks(reader, { from: 2, to: 4 })) {
    lines.push(new TextDecoder().decode(line));
  }
  const files = [2, 3, 4].map((n) =>
    Deno.readTextFileSync(`${layout.timing}/blocks/${n}.json`)
  );
  assertEquals(lines, files);
});

Deno.test("too many unknown blocks are left where recover finds them", async () => {
  const { layout, scratch } = await chainOf(3);
  await using _ = scratch;
  const files = ["head.json", "journal"].map((name) => `${layout.timing}/${name}`);
  await (async () => {
    using ledger = new Ledger(layout);
    await ledger.checkpoint();
    const before = files.map((path) => Deno.readTextFileSync(path));
    await Promise.all(Array.from({ length: 1100 }, (_, n) => ledger.append(content(n))));
    await ledger.checkpoint();
    files.forEach((path, at) => Deno.writeTextFileSync(path, before[at]!));
  })();
  using ledger = new Ledger(layout);
  await assertRejects(() => ledger.append(content(1)), OpError, /are unknown/);
  assertEquals([...Deno.readDirSync(`${layout.timing}/torn`)], []);
  await recoverChain(layout);
  assertEquals((await ledger.append(content(1))).header.number, 1104);
  assertEquals((await verifyChain(layout.timing)).faults, []);
});

Deno.test("a chain without head or journal is rebuilt from its blocks, if they are whole", async () => {
  const { layout, scratch } = await chainOf(30);
  await using _ = scratch;
  using ledger = new Ledger(layout);
  await ledger.checkpoint();
  await ledger.append(content(30));
  const { root } = await verifyChain(layout.timing);
  await Deno.writeTextFile(`${layout.timing}/head.json`, "rotten");
  await Deno.remove(`${layout.timing}/journal`);
  assertTrue(!(await verifyChain(layout.timing)).ok);
  const { blocks } = await recoverChain(layout);
  assertEquals(blocks, 32);
  const report = await verifyChain(layout.timing);
  assertEquals([report.ok, report.root], [true, root]);
  await ledger.append(content(31));

  await Deno.remove(`${layout.timing}/blocks/5.json`);
  await assertRejects(() => recoverChain(layout), OpError, /only 5 are whole/);
});
