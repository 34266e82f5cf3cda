/** A small HTTP client over a unix socket: fast enough not to be what is measured. */
const encoder = new TextEncoder(), decoder = new TextDecoder("latin1");
/** Headers of an answer are shorter. */
const HEAD_LIMIT = 2048;

/** A request for embeddings, as bytes. */
export function embeddingsRequest(value: unknown): Uint8Array<ArrayBuffer> {
  const body = encoder.encode(JSON.stringify(value));
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n" +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const out = new Uint8Array(head.length + body.length);
  encoder.encodeInto(head, out);
  out.set(body, head.length);
  return out;
}

/** One connection, kept alive, with one request under way. */
export class HttpClient implements Disposable {
  readonly #buffer = new Uint8Array(1024 * 1024);

  private constructor(readonly connection: Deno.UnixConn) {}

  static async connect(path: string): Promise<HttpClient> {
    return new HttpClient(await Deno.connect({ transport: "unix", path }));
  }

  /** Asks for embeddings; the status. */
  post(value: unknown): Promise<string> {
    return this.send(embeddingsRequest(value));
  }

  /** Sends a request, reads the whole answer; the status. */
  async send(request: Uint8Array): Promise<string> {
    for (let sent = 0; sent < request.length;) {
      sent += await this.connection.write(request.subarray(sent));
    }
    let have = 0;
    for (;;) {
      const n = await this.connection.read(this.#buffer.subarray(have));
      if (n === null) throw new Error("closed");
      have += n;
      const text = decoder.decode(this.#buffer.subarray(0, Math.min(have, HEAD_LIMIT)));
      const end = text.indexOf("\r\n\r\n");
      if (end === -1) continue;
      let rest = Number(/content-length: (\d+)/i.exec(text)![1]) - (have - end - 4);
      while (rest > 0) {
        const more = await this.connection.read(this.#buffer);
        if (more === null) throw new Error("closed");
        rest -= more;
      }
      return text.slice(9, 12);
    }
  }

  [Symbol.dispose](): void {
    this.connection.close();
  }
}
