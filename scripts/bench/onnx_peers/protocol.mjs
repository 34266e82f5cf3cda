// @ts-nocheck: plain JavaScript, also for Node
/**
 * What every peer speaks: one JSON request per line in, one JSON answer per line out.
 * Runs in Deno and in Node.
 */
import process from "node:process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** Peak resident memory of this process, MiB. */
function peakMb() {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
  return Number(line[1]) / 1024;
}

/**
 * Answers requests until standard input ends.
 *
 * @param {Record<string, (request: any) => any>} handlers by `op`; their time is
 *   measured and answered as `ms`
 */
export async function serve(handlers) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      const start = performance.now();
      const result = request.op === "peak"
        ? peakMb()
        : await handlers[request.op](request);
      answer = { ms: performance.now() - start, result };
    } catch (error) {
      answer = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

/** The same made-up ids in every engine: `rows` texts of `columns` tokens. */
export function feeds(rows, columns) {
  const count = rows * columns;
  const ids = new BigInt64Array(count);
  for (let i = 0; i < count; i++) ids[i] = BigInt(1000 + (i * 7919) % 20000);
  return {
    input_ids: ids,
    attention_mask: new BigInt64Array(count).fill(1n),
    token_type_ids: new BigInt64Array(count),
  };
}
