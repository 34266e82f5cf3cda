import { getAffinity } from "../../ffi/affinity.ts";
import { addressOfFunction, NativeThread } from "../../ffi/native_thread.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";

const pointerTo = (buffer: Uint8Array<ArrayBuffer>) =>
  Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));

Deno.test("a thread of ours is another one, on the CPU it was given", async () => {
  const last = getAffinity().at(-1)!;
  using thread = new NativeThread([last]);
  const threadId = Number(await thread.call(addressOfFunction("gettid"), []));
  assertTrue(threadId !== Deno.pid);
  assertEquals(getAffinity(threadId), [last]);
  assertEquals(Number(await thread.call(addressOfFunction("sched_getcpu"), [])), last);
});

Deno.test("its calls take turns, get all eight arguments, and let the event loop live", async () => {
  using thread = new NativeThread(getAffinity());
  const text = new Uint8Array(64), form = "%d %d %d %d %d\0";
  const pattern = new TextEncoder().encode(form);
  const args = [pointerTo(text), BigInt(text.length), pointerTo(pattern)];
  const sleeping = thread.call(addressOfFunction("usleep"), [20_000n]);
  const written = thread.call(addressOfFunction("snprintf"), [
    ...args,
    1n,
    2n,
    3n,
    4n,
    5n,
  ]);
  let turns = 0, over = false;
  void sleeping.finally(() => over = true);
  while (!over) {
    await new Promise((resolve) => setTimeout(resolve));
    turns++;
  }
  assertTrue(turns > 1, `${turns} turns`);
  assertEquals(await written, 9n);
  assertEquals(new TextDecoder().decode(text.subarray(0, 9)), "1 2 3 4 5");
  await assertRejects(() => thread.call(0n, Array(9).fill(0n)), RangeError);
});

Deno.test("more calls than fit into its memory are made in order, each with its result", async () => {
  using thread = new NativeThread(getAffinity());
  const labs = addressOfFunction("labs");
  const order: bigint[] = [];
  const calls = Array.from({ length: 40 }, async (_, i) => {
    order.push(await thread.call(labs, [BigInt.asUintN(64, BigInt(-i))]));
  });
  assertEquals(thread.queued, 40);
  await Promise.all(calls);
  assertEquals(order, Array.from({ length: 40 }, (_, i) => BigInt(i)));
  assertEquals(thread.queued, 0);
});

Deno.test("a thread that is closed ends after the call under way", async () => {
  const thread = new NativeThread(getAffinity());
  const last = thread.call(addressOfFunction("getpid"), []);
  thread[Symbol.dispose]();
  assertEquals(Number(await last), Deno.pid);
  await assertRejects(
    () => thread.call(addressOfFunction("getpid"), []),
    TypeError,
    /closed/,
  );
  // Closed before it ran at all.
  new NativeThread(getAffinity())[Symbol.dispose]();
});

/** Ends when a thread of this process has ended. */
async function gone(threadId: number): Promise<void> {
  const ids = () => [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name);
  while (ids().includes(String(threadId))) {
    await new Promise((resolve) => setTimeout(resolve));
  }
}

Deno.test("a closed thread is gone, whether it had something to do or not", async () => {
  for (const calls of [0, 1, 20]) {
    const thread = new NativeThread(getAffinity());
    const threadId = Number(await thread.call(addressOfFunction("gettid"), []));
    const sleep = addressOfFunction("usleep");
    const last = Array.from({ length: calls }, () => thread.call(sleep, [1000n]));
    thread[Symbol.dispose]();
    thread[Symbol.dispose]();
    assertEquals(await Promise.all(last), Array(calls).fill(0n));
    await gone(threadId);
  }
});

Deno.test("a thread for a CPU that is not there says so to its callers", async () => {
  using thread = new NativeThread([8191]);
  const call = () => thread.call(addressOfFunction("getpid"), []);
  // Before it has tried, and after.
  for (let times = 0; times < 2; times++) {
    await assertRejects(call, Error, /Cannot run a thread on the CPUs 8191/);
  }
  assertEquals(thread.started, false);
});
