/**
 * A load generator in a process of its own: keep-alive connections over a unix socket,
 * each with one request under way at a time.
 *
 *     http_load.ts SOCKET CONNECTIONS SECONDS BATCH
 *
 * Prints requests per second, latency and the statuses as JSON.
 */
const [socket, connections, seconds, batch] = Deno.args as [
  string,
  string,
  string,
  string,
];
const texts = Array.from({ length: 1000 }, (_, n) => `cached text number ${n}`);
const encoder = new TextEncoder();
const latencies: number[] = [];
const statuses: Record<string, number> = {};

function request(at: number): Uint8Array {
  const size = Number(batch);
  const input = size === 1
    ? texts[at % texts.length]!
    : Array.from({ length: size }, (_, i) => texts[(at + i) % texts.length]!);
  const body = encoder.encode(JSON.stringify({ input, encoding_format: "base64" }));
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n" +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const out = new Uint8Array(head.length + body.length);
  out.set(encoder.encode(head));
  out.set(body, head.length);
  return out;
}

const decoder = new TextDecoder("latin1");

/** Reads one answer; returns its status. */
async function answer(connection: Deno.Conn, buffer: Uint8Array): Promise<string> {
  let have = 0;
  for (;;) {
    const n = await connection.read(buffer.subarray(have));
    if (n === null) throw new Error("closed");
    have += n;
    const text = decoder.decode(buffer.subarray(0, Math.min(have, 2048)));
    const end = text.indexOf("\r\n\r\n");
    if (end === -1) continue;
    const length = Number(/content-length: (\d+)/i.exec(text)![1]);
    let rest = length - (have - end - 4);
    while (rest > 0) {
      const more = await connection.read(buffer);
      if (more === null) throw new Error("closed");
      rest -= more;
    }
    return text.slice(9, 12);
  }
}

const requests = Array.from({ length: 64 }, (_, n) => request(n * 13));
const deadline = performance.now() + Number(seconds) * 1000;
async function client(number: number): Promise<void> {
  const connection = await Deno.connect({ transport: "unix", path: socket });
  const buffer = new Uint8Array(1024 * 1024);
  for (let at = number * 7; performance.now() < deadline; at++) {
    const start = performance.now();
    await connection.write(requests[at % requests.length]!);
    const status = await answer(connection, buffer);
    latencies.push(performance.now() - start);
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
  connection.close();
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
