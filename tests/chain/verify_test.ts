import { BlockFold } from "../../lib/chain/block_fold.ts";
import { openCheckpoint } from "../../lib/chain/checkpoint.ts";
import { Frontier } from "../../lib/chain/merkle.ts";
import { hostKey } from "../../lib/chain/host_key.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { type ChainReport, verifyChain } from "../../lib/chain/verify.ts";
import type { Layout } from "../../lib/base/layout.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { sh } from "../support/scratch.ts";
import { chainOf, content, generator } from "./support.ts";

const BLOCKS = 200;
/** Bits flipped per file with a whole verification each; all of them with OPDBUS_FULL=1. */
const FLIPS_PER_FILE = Deno.env.get("OPDBUS_FULL") === "1" ? Infinity : 2;

/** Half of the chain behind the head, half in the journal. */
async function halfTurned() {
  const made = await chainOf(BLOCKS / 2 - 1);
  using ledger = new Ledger(made.layout);
  await ledger.checkpoint();
  for (let n = BLOCKS / 2; n < BLOCKS; n++) await ledger.append(content(n));
  return made;
}

const block = (layout: Layout, n: number) => `${layout.timing}/blocks/${n}.json`;

/** Runs `body` with a file changed, then puts it back. */
async function withFile<T>(path: string, bytes: Uint8Array, body: () => Promise<T>) {
  const before = await Deno.readFile(path);
  await Deno.writeFile(path, bytes);
  try {
    return await body();
  } finally {
    await Deno.writeFile(path, before);
  }
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const bent = bytes.slice();
  bent[bit >> 3]! ^= 1 << (bit & 7);
  return bent;
}

/** What is wrong is told: as a fault, or (a journal cut at its end) as a note. */
function found(report: ChainReport): boolean {
  return !report.ok || report.notes.length > 0;
}

/** A chain in memory: what `verify` knows before each block, and what it reads. */
function stepsOf(layout: Layout) {
  using reader = new ChainReader(layout.timing);
  const entries = new Map(reader.journal!.entries.map((entry) => [entry.number, entry]));
  const fold = new BlockFold();
  return Array.from({ length: reader.size }, (_, n) => {
    const step = {
      bytes: reader.bytes(n).slice(),
      entry: entries.get(n),
      roots: fold.frontier.roots.slice(),
      last: fold.last,
    };
    fold.add(n, () => step.bytes, step.entry);
    assertEquals(fold.faults, []);
    return step;
  });
}

/**
 * What `verify` finds at block `n` and the one behind it when `n` is read as `bent`. The
 * blocks before it are as they were, and what is found later cannot undo a fault.
 */
function faultsNear(steps: ReturnType<typeof stepsOf>, n: number, bent: Uint8Array) {
  const { roots, last, entry } = steps[n]!;
  const fold = new BlockFold(Frontier.of(n, roots), last);
  fold.add(n, () => bent, entry);
  const next = steps[n + 1];
  if (next) fold.add(n + 1, () => next.bytes, next.entry);
  return fold.faults;
}

Deno.test("verify finds every single flipped bit of every block", async () => {
  const { layout, scratch } = await halfTurned();
  await using _ = scratch;
  const steps = stepsOf(layout);
  assertEquals(steps.length, BLOCKS);
  for (const [n, { bytes }] of steps.entries()) {
    const bent = bytes.slice();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bent[bit >> 3]! ^= 1 << (bit & 7);
      if (faultsNear(steps, n, bent).length === 0) {
        throw new Error(`block ${n} bit ${bit}`);
      }
      bent[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
});

Deno.test("verify finds a flipped bit in any block, the head and the journal", async () => {
  const { layout, scratch } = await halfTurned();
  await using _ = scratch;
  assertTrue((await verifyChain(layout.timing)).ok);
  const random = generator(9);
  const steps = stepsOf(layout);
  for (const [n, { bytes }] of steps.entries()) {
    const path = block(layout, n);
    const bits = bytes.length * 8;
    for (let i = 0; i < Math.min(FLIPS_PER_FILE, bits); i++) {
      const bit = FLIPS_PER_FILE === Infinity ? i : random(bits);
      const bent = flip(bytes, bit);
      const report = await withFile(path, bent, () => verifyChain(layout.timing));
      assertTrue(!report.ok, `${path} bit ${bit}`);
      // The whole command, on disk, tells what the test of every bit relies on.
      assertEquals(report.faults.slice(0, 1), faultsNear(steps, n, bent).slice(0, 1));
    }
  }
  const key = hostKey(layout);
  for (const path of [`${layout.timing}/head.json`, `${layout.timing}/journal`]) {
    const bytes = await Deno.readFile(path);
    const bits = bytes.length * 8, most = FLIPS_PER_FILE * 50;
    for (let i = 0; i < Math.min(most, bits); i++) {
      const bit = most === Infinity ? i : random(bits);
      const report = await withFile(
        path,
        flip(bytes, bit),
        () => verifyChain(layout.timing, { key }),
      );
      assertTrue(found(report), `${path} bit ${bit}`);
    }
  }
});

Deno.test("verify finds any removed, truncated, swapped or inserted block", async () => {
  const { layout, scratch } = await halfTurned();
  await using _ = scratch;
  const files = Array.from(
    { length: BLOCKS },
    (_, n) => Deno.readFileSync(block(layout, n)),
  );
  const fails = async (what: string) =>
    assertTrue(!(await verifyChain(layout.timing)).ok, what);
  for (let n = 0; n < BLOCKS; n++) {
    await Deno.remove(block(layout, n));
    await fails(`block ${n} removed`);
    await Deno.writeFile(
      block(layout, n),
      files[n]!.subarray(0, files[n]!.length - 1 - n),
    );
    await fails(`block ${n} truncated`);
    const other = (n + 1) % BLOCKS;
    await Deno.writeFile(block(layout, n), files[other]!);
    await fails(`block ${n} replaced by block ${other}`);
    await Deno.writeFile(block(layout, other), files[n]!);
    await fails(`blocks ${n} and ${other} swapped`);
    await Deno.writeFile(block(layout, n), files[n]!);
    await Deno.writeFile(block(layout, other), files[other]!);
  }
  // A block put in between: every later one moves up by one.
  for (let n = BLOCKS; n > 50; n--) await Deno.writeFile(block(layout, n), files[n - 1]!);
  await fails("a block inserted");
  for (let n = 50; n < BLOCKS; n++) await Deno.writeFile(block(layout, n), files[n]!);
  // One more at the end is no part of the chain, and told.
  const report = await verifyChain(layout.timing);
  assertEquals([report.ok, report.blocks, report.notes.length], [true, BLOCKS, 1]);
  await Deno.remove(block(layout, BLOCKS));
  assertTrue(!found(await verifyChain(layout.timing)));
});

Deno.test("a chain that was cut or rewritten by its host does not match a checkpoint", async () => {
  const { layout, scratch } = await chainOf(40);
  await using _ = scratch;
  using ledger = new Ledger(layout);
  const note = await ledger.checkpoint();
  const checkpoint = openCheckpoint(note, hostKey(layout));
  const against = [{ name: "witness", checkpoint }];
  for (let n = 0; n < 5; n++) await ledger.append(content(n));
  assertTrue((await verifyChain(layout.timing, { against })).ok);

  // Root begins again with the same key, and tells another story of the same length.
  await Deno.rename(layout.timing, `${layout.timing}-old`);
  using liar = new Ledger(layout);
  for (let n = 0; n < 30; n++) await liar.append(content(n));
  assertTrue((await verifyChain(layout.timing)).ok, "without a witness nothing shows");
  const cut = await verifyChain(layout.timing, { against });
  assertEquals(cut.faults.map(({ problem }) => problem), [
    "witness has 41 blocks: the last 10 are gone",
  ]);
  for (let n = 0; n < 30; n++) await liar.append(content(1000 + n));
  const rewritten = await verifyChain(layout.timing, { against });
  assertEquals(rewritten.faults.map(({ problem }) => problem), [
    "witness has another root: its 41 blocks were rewritten",
  ]);
});

Deno.test("what stands in a block's place is that block's fault", async () => {
  const { layout, scratch } = await chainOf(8);
  await using _ = scratch;
  const put: [number, () => unknown, RegExp][] = [
    [2, () => Deno.mkdir(block(layout, 2)), /EISDIR/],
    [4, () => Deno.symlink("/etc/passwd", block(layout, 4)), /ELOOP/],
    [6, () => sh("mkfifo", block(layout, 6)), /does not begin as a block|differs/],
  ];
  for (const [n, make] of put) {
    await Deno.remove(block(layout, n));
    await make();
  }
  const { ok, faults } = await verifyChain(layout.timing);
  assertTrue(!ok);
  for (const [n, , problem] of put) {
    const told = faults.filter(({ block }) => block === n).map(({ problem }) => problem);
    assertTrue(told.some((text) => problem.test(text)), `${n}: ${told}`);
  }
});

Deno.test("foreign files and data that nobody compacted are faults", async () => {
  const { layout, scratch } = await chainOf(10);
  await using _ = scratch;
  await Deno.writeTextFile(`${layout.timing}/blocks/notes.txt`, "hello");
  const [fault] = (await verifyChain(layout.timing)).faults;
  assertEquals(fault, {
    block: null,
    problem: 'blocks/ holds "notes.txt", which is no block',
  });
  await Deno.remove(`${layout.timing}/blocks/notes.txt`);
  using reader = new ChainReader(layout.timing);
  const text = new TextDecoder().decode(reader.bytes(4));
  await Deno.writeTextFile(block(layout, 4), text.replace(/,"data":.*/, "}"));
  const report = await verifyChain(layout.timing);
  assertEquals(report.faults, [
    { block: 4, problem: "its data is gone, though nothing compacted it" },
  ]);
});
