/** Repositories and servers for the tests of lib/plugin. */
import { formatSignature, type PublicKey } from "../../lib/plugin/minisign/format.ts";
import {
  generateSecretKey,
  type SecretKey,
} from "../../lib/plugin/minisign/secret_key.ts";
import { digestBytes, signDigests } from "../../lib/plugin/minisign/sign.ts";
import type { IndexPlugin, RepositoryIndex } from "../../lib/plugin/index_schema.ts";
import type { Patience } from "../../lib/plugin/download.ts";

/** Gives up soon, so that the tests of giving up are quick. */
export const IMPATIENT: Patience = {
  answerMs: 10_000,
  stallMs: 150,
  minBytesPerSecond: 1_000_000,
  windowMs: 50,
  attempts: 2,
  pauseMs: 1,
};

/** Files of a server or folder, by path. */
export type Files = Map<string, Uint8Array<ArrayBuffer>>;

type Answer = Response | Promise<Response>;

/** A web server on a free port that serves a map of files. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly files: Files;
  /** Answers before the files do; undefined falls through to them. */
  intercept: (request: Request, path: string) => Answer | undefined;
  /** Paths asked for, with the Range where there was one. */
  readonly log: string[];
}

export function serve(files: Files = new Map()): TestServer {
  const log: string[] = [];
  const self: { intercept: TestServer["intercept"] } = { intercept: () => undefined };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
      const range = request.headers.get("range");
      log.push(range ? `${path} ${range}` : path);
      const special = self.intercept(request, path);
      if (special) return special;
      const bytes = files.get(path);
      if (!bytes) return new Response("no such file", { status: 404 });
      const from = /^bytes=(\d+)-$/.exec(range ?? "");
      if (!from) return new Response(bytes);
      const start = Number(from[1]);
      return new Response(bytes.slice(start), {
        status: 206,
        headers: {
          "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
        },
      });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    files,
    log,
    get intercept() {
      return self.intercept;
    },
    set intercept(fn) {
      self.intercept = fn;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A stream that gives pieces for ever (or until its reader is gone). */
export function endless(piece: Uint8Array<ArrayBuffer>, pauseMs = 0): ReadableStream {
  return new ReadableStream({
    async pull(controller) {
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      controller.enqueue(piece);
    },
  });
}

/** An index with the given plugins. */
export function index(more: Partial<RepositoryIndex> = {}): RepositoryIndex {
  return {
    format: 1,
    repository: "community",
    counter: 5,
    created: "2026-01-01T00:00:00Z",
    expires: "2099-01-01T00:00:00Z",
    revoked_keys: [],
    plugins: {},
    ...more,
  };
}

/** A plugin of an index whose packages need not exist. */
export function indexPlugin(name: string, versions: string[]): IndexPlugin {
  return {
    author: "me",
    versions: versions.map((version) => ({
      version,
      file: `${name}/${name}-v${version}.btrfs.zst`,
      sha256: "0".repeat(64),
      tree: "0".repeat(64),
      size: 1,
      dependencies: [],
      requires_proxmox: false,
      deltas: [],
    })),
  };
}

/** Bytes and signatures of an index, as files. The first key signs the plain .minisig. */
export function signedIndex(content: RepositoryIndex, keys: SecretKey[]): Files {
  const bytes = new TextEncoder().encode(JSON.stringify(content));
  const files: Files = new Map([["index.json", bytes]]);
  keys.forEach((key, i) => {
    const signature = signDigests(
      digestBytes(bytes),
      key,
      "timestamp:1\tfile:index.json",
    );
    const text = new TextEncoder().encode(formatSignature(signature));
    if (i === 0) files.set("index.json.minisig", text);
    files.set(`index.json.${key.id}.minisig`, text);
  });
  return files;
}

/** Puts files onto a server, over what is there. */
export function publish(server: TestServer, files: Files): void {
  for (const [path, bytes] of files) server.files.set(path, bytes);
}

export function publicOf(key: SecretKey): PublicKey {
  return { id: key.id, key: key.key };
}

export { generateSecretKey };
export type { SecretKey };

/** A server that answers every connection with the same bytes, then closes it. */
export function serveRaw(answer: string): AsyncDisposable & { readonly url: string } {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const running = (async () => {
    for await (const connection of listener) {
      try {
        await connection.read(new Uint8Array(4096));
        await connection.write(new TextEncoder().encode(answer));
      } finally {
        connection.close();
      }
    }
  })();
  return {
    url: `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await running;
    },
  };
}
