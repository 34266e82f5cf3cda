/**
 * A load generator in a process of its own: keep-alive connections over a unix socket,
 * each with one request under way at a time.
 *
 *     http_load.ts SOCKET CONNECTIONS SECONDS BATCH [new]
 *
 * With `new` no text comes twice. Prints requests per second, latency and the statuses as JSON.
 */
import { embeddingsRequest, HttpClient } from "./http_client.ts";

const [socket, connections, seconds, batch, which] = Deno.args as [
  string,
  string,
  string,
  string,
  string | undefined,
];
const texts = Array.from({ length: 1000 }, (_, n) => `cached text number ${n}`);
const latencies: number[] = [];
const statuses: Record<string, number> = {};

function request(at: number): Uint8Array {
  const size = Number(batch);
  const input = size === 1
    ? texts[at % texts.length]!
    : Array.from({ length: size }, (_, i) => texts[(at + i) % texts.length]!);
  return embeddingsRequest({ input, encoding_format: "base64" });
}

const requests = Array.from({ length: 64 }, (_, n) => request(n * 13));
const deadline = performance.now() + Number(seconds) * 1000;
async function client(number: number): Promise<void> {
  using http = await HttpClient.connect(socket);
  for (let at = number * 7; performance.now() < deadline; at++) {
    const bytes = which === "new"
      ? embeddingsRequest({ input: `a new text, number ${at} of client ${number}` })
      : requests[at % requests.length]!;
    const start = performance.now();
    const status = await http.send(bytes);
    latencies.push(performance.now() - start);
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
}
await Promise.all(Array.from({ length: Number(connections) }, (_, n) => client(n)));
latencies.sort((a, b) => a - b);
const quantile = (share: number) => latencies[Math.floor(share * (latencies.length - 1))];
console.log(JSON.stringify({
  perSecond: latencies.length / Number(seconds),
  p50: quantile(0.5),
  p99: quantile(0.99),
  statuses,
}));
