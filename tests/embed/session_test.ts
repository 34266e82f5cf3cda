/** Runs of a session that are ended, or outlive it. */
import { getAffinity } from "../../ffi/affinity.ts";
import type { EngineSession, Feeds } from "../../lib/embed/onnx/engine.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { modelScratch, sentences } from "./support.ts";

/** A batch that takes a while: a tenth of a second and more. */
function largeBatch(rows = 512, columns = 64): Feeds {
  const all = (value: bigint) => new BigInt64Array(rows * columns).fill(value);
  const inputs = new Map([
    ["input_ids", all(5n)],
    ["attention_mask", all(1n)],
    ["token_type_ids", all(0n)],
  ]);
  return { rows, columns, inputs };
}

const REASON = new Error("enough");

/** Starts runs, aborts them all in the same turn; each must end with the reason. */
async function assertAllEnd(session: EngineSession, count: number): Promise<void> {
  const stop = new AbortController();
  const runs = Array.from(
    { length: count },
    () => session.run(largeBatch(), stop.signal),
  );
  stop.abort(REASON);
  for (const run of await Promise.allSettled(runs)) {
    // A run that went on to its end would have fulfilled.
    assertEquals(run.status === "rejected" && run.reason, REASON);
  }
  using whole = await session.run(largeBatch(1));
  assertEquals(whole.dims, [1, 64, 32]);
}

Deno.test("an abort ends a run in its midst, also those queued behind it", async () => {
  await using scratch = await modelScratch();
  using embedder = await scratch.open({ precision: "int8" });
  const { session } = embedder;
  await assertAllEnd(session, 4);
  // By now it has a thread of its own.
  await embedder.embed(sentences(20));
  await assertAllEnd(session, 4);
  // And the one with a thread per CPU, each with runs ahead of it.
  const single = await session.many?.();
  assertEquals(single !== undefined, getAffinity().length > 1);
  if (!single) return;
  await embedder.embed(sentences(200));
  await assertAllEnd(single, 3 * single.concurrency);
});

Deno.test("a session that is closed lets its runs end, and takes no more", async () => {
  await using scratch = await modelScratch();
  for (const queued of [false, true]) {
    const embedder = await scratch.open({ precision: queued ? "int8" : "fp32" });
    if (queued) await embedder.embed(sentences(200));
    const session = await embedder.session.many?.() ?? embedder.session;
    const runs = Array.from({ length: 6 }, () => session.run(largeBatch(128)));
    embedder[Symbol.dispose]();
    embedder[Symbol.dispose]();
    for (const run of runs) {
      using output = await run;
      assertTrue(output.data.every(Number.isFinite));
    }
    await assertRejects(() => session.run(largeBatch(1)), TypeError, /closed/);
  }
});

Deno.test("WebAssembly is closed once, however often it is asked to", async () => {
  await using scratch = await modelScratch();
  const embedder = await scratch.open({}, { device: "wasm" });
  const last = embedder.embed(["last words"]).then(() => null, (error) => error);
  embedder[Symbol.dispose]();
  embedder[Symbol.dispose]();
  const error = await last;
  assertTrue(error === null || error instanceof TypeError, String(error));
  await assertRejects(() => embedder.embed(["x"]), TypeError, /closed/);
});
