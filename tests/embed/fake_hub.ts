/**
 * A hub of models on this machine that misbehaves on request. Raw TCP, because an HTTP
 * library would not let it lie about sizes or cut an answer.
 */

/** One request as it came. */
export interface HubRequest {
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  /** How often this path was asked for before. */
  readonly count: number;
}

/** One answer as it goes out. */
export interface HubReply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Sends so many bytes of the body, then closes the connection. */
  readonly cutAt?: number;
  /** Content-Length to claim; default the body's. Null sends none. */
  readonly claim?: number | null;
}

/** The running hub. */
export interface FakeHub extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly requests: HubRequest[];
}

/** Starts a hub that answers with what `reply` gives; null means 404. */
export function startHub(reply: (request: HubRequest) => HubReply | null): FakeHub {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const requests: HubRequest[] = [];
  const open = new Set<Promise<void>>();
  const accept = async () => {
    for await (const connection of listener) {
      const served: Promise<void> = serve(connection, requests, reply).finally(() =>
        open.delete(served)
      );
      open.add(served);
    }
  };
  const accepting = accept();
  return {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(open);
    },
  };
}

async function serve(
  connection: Deno.Conn,
  requests: HubRequest[],
  reply: (request: HubRequest) => HubReply | null,
): Promise<void> {
  using _connection = connection;
  const head = await readHead(connection);
  if (head === "") return;
  const [first, ...lines] = head.split("\r\n");
  const path = decodeURIComponent(first!.split(" ")[1]!);
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const count = requests.filter((request) => request.path === path).length;
  const request = { path, headers, count };
  requests.push(request);
  const answer = reply(request) ?? { status: 404 };
  const body = answer.body ?? new Uint8Array();
  const claim = answer.claim === undefined ? body.length : answer.claim;
  const all = [
    `HTTP/1.1 ${answer.status ?? 200} X`,
    ...Object.entries(answer.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    ...(claim === null ? [] : [`content-length: ${claim}`]),
    "connection: close",
  ];
  try {
    await write(connection, new TextEncoder().encode(all.join("\r\n") + "\r\n\r\n"));
    await write(connection, body.subarray(0, answer.cutAt ?? body.length));
  } catch (error) {
    // The client may hang up first: that is what some tests are about.
    const gone = error instanceof Deno.errors.BrokenPipe ||
      error instanceof Deno.errors.ConnectionReset;
    if (!gone) throw error;
  }
}

async function readHead(connection: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(4096);
  while (!text.includes("\r\n\r\n")) {
    const count = await connection.read(buffer);
    if (count === null) return "";
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text.slice(0, text.indexOf("\r\n\r\n"));
}

async function write(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += await connection.write(bytes.subarray(done));
  }
}

/** A reply that honours Range and If-None-Match like a real server. */
export function ranged(request: HubRequest, body: Uint8Array, etag: string): HubReply {
  if (request.headers.get("if-none-match") === etag) {
    return { status: 304, headers: { etag }, claim: null };
  }
  const range = /^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "");
  if (!range || request.headers.get("if-range") !== etag) {
    return { body, headers: { etag } };
  }
  const from = Number(range[1]);
  if (from >= body.length) return { status: 416 };
  return {
    status: 206,
    body: body.subarray(from),
    headers: { etag, "content-range": `bytes ${from}-${body.length - 1}/${body.length}` },
  };
}
