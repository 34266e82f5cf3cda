/**
 * A day's requests at full speed: batches of one, most of them for texts asked for before,
 * and the service's memory at each tenth.
 *
 *     day_load.ts SOCKET REQUESTS CONNECTIONS DISTINCT PID
 *
 * Texts are drawn by Zipf's law, as natural requests are: a few are asked for all the time,
 * most of them once or twice. Prints JSON.
 */
import { randomFrom } from "../../models/random.ts";
import { HttpClient } from "./http_client.ts";

const [socket, ...numbers] = Deno.args;
const [requests, connections, distinct, pid] = numbers.map(Number) as [
  number,
  number,
  number,
  number,
];
const TENTHS = 10;
const latencies = new Float64Array(requests);
const statuses: Record<string, number> = {};
const memory: { done: number; residentMb: number; anonymousMb: number }[] = [];

function megabytes(what: string): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)![1]) / 1024;
}

/** Rank 1 to `distinct`, each as probable as 1 / rank, by inversion of its integral. */
const random = randomFrom(24);
const rank = () => Math.floor(Math.exp(random() * Math.log(distinct)));

let asked = 0;
async function client(): Promise<void> {
  using http = await HttpClient.connect(socket!);
  while (asked < requests) {
    const at = asked++;
    const input = `request of the day number ${rank()}, some words long`;
    const start = performance.now();
    const status = await http.post({ input, encoding_format: "base64" });
    latencies[at] = performance.now() - start;
    statuses[status] = (statuses[status] ?? 0) + 1;
    if ((at + 1) % Math.floor(requests / TENTHS) === 0) {
      const [residentMb, anonymousMb] = [megabytes("VmRSS"), megabytes("RssAnon")];
      memory.push({ done: at + 1, residentMb, anonymousMb });
    }
  }
}

const start = performance.now();
await Promise.all(Array.from({ length: connections }, () => client()));
const seconds = (performance.now() - start) / 1000;
latencies.sort();
console.log(JSON.stringify({
  perSecond: requests / seconds,
  seconds,
  p50: latencies[Math.floor(0.5 * (requests - 1))],
  p99: latencies[Math.floor(0.99 * (requests - 1))],
  statuses,
  memory,
}));
