/** Installing and running the stores that a user might pick instead. */
const HERE = new URL("./", import.meta.url).pathname;
const REPO = new URL("../../../", import.meta.url).pathname;
const PEERS = `${REPO}.tools/bench-cache`;

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd })
    .output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${command} ${args[0]}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** Installs lmdb and better-sqlite3 for Node where they are missing. */
export async function installPeers(note: (line: string) => void): Promise<void> {
  await Deno.mkdir(PEERS, { recursive: true });
  for (const file of ["package.json", "peer.mjs"]) {
    await Deno.copyFile(HERE + file, `${PEERS}/${file}`);
  }
  const built = `${PEERS}/node_modules/better-sqlite3/build/Release/better_sqlite3.node`;
  if (await Deno.stat(built).then(() => true, () => false)) return;
  note(
    "installing lmdb and better-sqlite3 (npm install, a minute) into .tools/bench-cache",
  );
  const args = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", args, PEERS);
}

/** Microseconds per lookup of a peer that runs under Node. */
export async function peerUs(
  kind: "lmdb" | "sqlite",
  folder: string,
  count: number,
  lookups: number,
): Promise<number> {
  await Deno.mkdir(folder, { recursive: true });
  const args = [`${PEERS}/peer.mjs`, kind, folder, String(count), String(lookups)];
  return JSON.parse(await run("node", args, PEERS)).us;
}

const encoder = new TextEncoder(), decoder = new TextDecoder();
const PIPELINE = 1000;
const DIMENSIONS = 384;

/**
 * Microseconds per vector of Redis over a unix socket, by MGET of a thousand; null where
 * it is not installed.
 */
export async function redisUs(
  folder: string,
  count: number,
  textOf: (i: number) => string,
): Promise<number | null> {
  const socket = `${folder}/redis.sock`;
  let server: Deno.ChildProcess;
  try {
    server = new Deno.Command("redis-server", {
      args: ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
      stdout: "null",
      stderr: "null",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  try {
    using connection = await connect(socket);
    const client = new RedisClient(connection);
    for (let from = 0; from < count; from += PIPELINE) {
      const parts: Uint8Array[] = [encoder.encode("MSET")];
      for (let i = from; i < Math.min(from + PIPELINE, count); i++) {
        const vector = new Float32Array(DIMENSIONS).fill(i);
        parts.push(encoder.encode(textOf(i)), new Uint8Array(vector.buffer));
      }
      await client.command(parts);
    }
    const times: number[] = [];
    for (let round = 0; round < 7; round++) {
      const parts = [encoder.encode("MGET")];
      for (let i = 0; i < PIPELINE; i++) {
        parts.push(encoder.encode(textOf(Math.floor(Math.random() * count))));
      }
      const begun = performance.now();
      const vectors = await client.command(parts);
      if (vectors.length !== PIPELINE) throw new Error(`${vectors.length} from Redis`);
      times.push((performance.now() - begun) * 1000 / PIPELINE);
    }
    return times.sort((a, b) => a - b)[3]!;
  } finally {
    server.kill("SIGTERM");
    await server.status;
  }
}

async function connect(path: string): Promise<Deno.UnixConn> {
  for (let attempt = 0;; attempt++) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      if (attempt === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

/** As much of RESP as MSET and MGET need. */
class RedisClient {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(4 * 1024 * 1024);
  #from = 0;
  #to = 0;

  constructor(private readonly connection: Deno.UnixConn) {}

  /** Sends a command; the vectors of its answer, none for a plain one. */
  async command(parts: readonly Uint8Array[]): Promise<Float32Array[]> {
    const chunks: Uint8Array[] = [encoder.encode(`*${parts.length}\r\n`)];
    for (const part of parts) {
      chunks.push(encoder.encode(`$${part.length}\r\n`), part, encoder.encode("\r\n"));
    }
    const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.connection.write(bytes.subarray(sent));
    }
    const head = await this.#line();
    if (head.startsWith("-")) throw new Error(head);
    if (!head.startsWith("*")) return [];
    const vectors: Float32Array[] = [];
    for (let i = 0; i < Number(head.slice(1)); i++) {
      const length = Number((await this.#line()).slice(1));
      vectors.push(
        new Float32Array((await this.#take(length + 2)).buffer, 0, length / 4),
      );
    }
    return vectors;
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.subarray(this.#from, this.#to).indexOf(10);
      if (end >= 0) {
        const line = decoder.decode(
          this.#buffer.subarray(this.#from, this.#from + end - 1),
        );
        this.#from += end + 1;
        return line;
      }
      await this.#fill();
    }
  }

  async #take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#to - this.#from < length) await this.#fill();
    const bytes = this.#buffer.slice(this.#from, this.#from + length);
    this.#from += length;
    return bytes;
  }

  async #fill(): Promise<void> {
    if (this.#from > 0) {
      this.#buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    const n = await this.connection.read(this.#buffer.subarray(this.#to));
    if (n === null) throw new Error("Redis closed the connection");
    this.#to += n;
  }
}
