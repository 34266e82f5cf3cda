/**
 * A process that appends until it is killed. Prints `acked HASH` for every block that it
 * was told is safe.
 *
 *     chain_child.ts kill ROOT N      dies by SIGKILL right before its Nth call into libc
 *     chain_child.ts append ROOT N    appends N blocks, forever when N is 0
 */
import { sys } from "../../ffi/libc.ts";
import { Layout } from "../../lib/base/layout.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { content } from "../chain/support.ts";

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Wraps every function of libc, so that the process is gone before the Nth call. */
function dieBeforeCall(n: number): void {
  let left = n;
  const names = Object.keys(
    Object.getOwnPropertyDescriptors(sys),
  ) as (keyof typeof sys)[];
  for (const name of names) {
    const original = sys[name] as ((...args: unknown[]) => unknown) | null;
    if (original === null) continue;
    const wrapped = (...args: unknown[]) => {
      if (--left === 0) Deno.kill(Deno.pid, "SIGKILL");
      return original(...args);
    };
    Object.defineProperty(sys, name, { value: wrapped });
  }
}

async function killed(layout: Layout, n: number): Promise<void> {
  dieBeforeCall(n);
  using ledger = new Ledger(layout);
  const add = async (at: number) =>
    say(`acked ${(await ledger.append(content(at))).hash}`);
  await add(0);
  await add(1);
  await Promise.all([2, 3, 4].map(add));
  await ledger.checkpoint();
  await add(5);
}

async function appending(layout: Layout, count: number): Promise<void> {
  using ledger = new Ledger(layout);
  let next = 0;
  const worker = async () => {
    while (count === 0 || next < count) {
      say(`acked ${(await ledger.append(content(next++))).hash}`);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

const [mode, root, n] = Deno.args;
await (mode === "kill" ? killed : appending)(new Layout(root!), Number(n));
say("done");
