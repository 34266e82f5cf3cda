/**
 * The same load on Redis: GET of vectors of the same size over a unix socket, one at a
 * time on each connection.
 *
 *     redis_load.ts SOCKET CONNECTIONS SECONDS
 */
const [socket, connections, seconds] = Deno.args as [string, string, string];
const encoder = new TextEncoder(), decoder = new TextDecoder("latin1");
const VECTOR_BYTES = 1536, KEYS = 1000;
const latencies: number[] = [];

function command(...parts: (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [encoder.encode(`*${parts.length}\r\n`)];
  for (const part of parts) {
    const bytes = typeof part === "string" ? encoder.encode(part) : part;
    pieces.push(encoder.encode(`$${bytes.length}\r\n`), bytes, encoder.encode("\r\n"));
  }
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

async function reply(connection: Deno.Conn, buffer: Uint8Array): Promise<void> {
  let have = 0;
  for (;;) {
    const n = await connection.read(buffer.subarray(have));
    if (n === null) throw new Error("closed");
    have += n;
    if (buffer[0] === 0x2b && have >= 5) return; // +OK
    const line = /^\$(\d+)\r\n/.exec(decoder.decode(buffer.subarray(0, 16)));
    if (line && have >= line[0].length + Number(line[1]) + 2) return;
  }
}

const buffer0 = new Uint8Array(8192);
const filler = await Deno.connect({ transport: "unix", path: socket });
for (let n = 0; n < KEYS; n++) {
  await filler.write(command("SET", `key${n}`, new Uint8Array(VECTOR_BYTES).fill(n)));
  await reply(filler, buffer0);
}
filler.close();
const gets = Array.from({ length: KEYS }, (_, n) => command("GET", `key${n}`));
const deadline = performance.now() + Number(seconds) * 1000;
async function client(number: number): Promise<void> {
  const connection = await Deno.connect({ transport: "unix", path: socket });
  const buffer = new Uint8Array(8192);
  for (let at = number * 7; performance.now() < deadline; at++) {
    const start = performance.now();
    await connection.write(gets[at % KEYS]!);
    await reply(connection, buffer);
    latencies.push(performance.now() - start);
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
}));
