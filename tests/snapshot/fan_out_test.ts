import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { OpError } from "../../lib/base/errors.ts";
import { fanOut } from "../../lib/snapshot/fan_out.ts";
import { paced } from "../../lib/snapshot/pace.ts";

async function* numbers(count: number): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(1000); // lent, and overwritten for the next
  for (let i = 0; i < count; i++) {
    buffer.fill(i);
    yield buffer;
    await Promise.resolve();
  }
}

Deno.test("fan out: every taker sees every byte, whatever the pace of the others", async () => {
  const take = (waitEvery: number) => async (chunks: AsyncIterable<Uint8Array>) => {
    let sum = 0, seen = 0;
    for await (const chunk of chunks) {
      if (waitEvery && ++seen % waitEvery === 0) {
        await new Promise((go) => setTimeout(go));
      }
      for (const byte of chunk) sum += byte;
    }
    return sum;
  };
  const wanted = 1000 * Array.from({ length: 200 }, (_, i) => i).reduce((a, b) => a + b);
  const results = await fanOut(numbers(200), [
    take(0),
    take(3),
    async (chunks) => {
      for await (const _ of chunks) return -1; // leaves early
      return -2;
    },
    () => Promise.reject(new Error("never began")),
    take(50),
  ]);
  assertEquals(
    results.map((r) => r.status === "fulfilled" ? r.value : String(r.reason)),
    [wanted, wanted, -1, "Error: never began", wanted],
  );
  const failing = async function* () {
    yield* numbers(3);
    throw new Error("the source broke");
  };
  const all = await fanOut(failing(), [take(0), take(1)]);
  assertEquals(all.map((r) => r.status), ["rejected", "rejected"]);
});

Deno.test("a bandwidth limit is kept on average; an abort ends the waiting", async () => {
  const started = performance.now();
  let bytes = 0;
  for await (const chunk of paced(numbers(100), { limit: 200_000 })) {
    bytes += chunk.length;
  }
  const seconds = (performance.now() - started) / 1000;
  assertTrue(bytes / seconds <= 200_000 * 2.1, `${bytes / seconds} B/s`); // burst included
  const stop = new AbortController();
  const slow = async () => {
    for await (const _ of paced(numbers(100), { limit: 1, signal: stop.signal })) {
      stop.abort(new OpError("interrupted", "stopped"));
    }
  };
  await assertRejects(slow, OpError, /stopped/);
});

Deno.test("who waits until somebody takes the first chunk sees how much has passed", async () => {
  const seen: number[] = [];
  const chunks = paced(numbers(2), { progress: (bytes) => seen.push(bytes) });
  const { value } = await chunks.next();
  assertEquals(seen, [0]);
  await chunks.next();
  assertEquals(seen, [0, value!.length]);
  await chunks.return();
});
