/**
 * Opening a URL to read from: https, http where it was asked for, file. Redirects are
 * followed by hand, so that none leads from https to http or to a local file.
 */
import { InputError, OpError } from "../base/errors.ts";
import { isSysError } from "../../ffi/errno.ts";
import { close, pread } from "../../ffi/files.ts";
import { openRegular } from "../base/regular_file.ts";
import { VERSION } from "../base/version.ts";
import { asPlainLine } from "./plain_text.ts";

const MAX_REDIRECTS = 5;
const PIECE_BYTES = 256 * 1024;

/** How to open. */
export interface SourceOptions {
  /** Plain http is an error without it. */
  readonly allowHttp?: boolean;
  readonly signal?: AbortSignal;
  /** Start here; the answer may start at 0 all the same. */
  readonly offset?: number;
  /** Resume only the same content: an ETag or a date. */
  readonly ifRange?: string | null;
  /** How long a server may take to answer at all; without it there is no end. */
  readonly answerMs?: number;
}

/** An open source. */
export interface Source {
  /** Where `body` starts. */
  readonly offset: number;
  /** Size of the whole, where it is announced. */
  readonly totalBytes: number | null;
  /** What {@link SourceOptions.ifRange} takes. */
  readonly validator: string | null;
  readonly body: ReadableStream<Uint8Array>;
}

/** A request that was answered, and the answer is no. */
export class HttpError extends OpError {
  constructor(
    readonly status: number,
    url: string,
    readonly retryAfterMs: number | null,
  ) {
    super("http_error", `Cannot fetch ${url}: the server answered ${status}`, {
      hint: status === 404
        ? "check the URL, or run: op-dbus repo update"
        : "try again later",
    });
  }
  /** True where trying again may help. */
  get transient(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/**
 * A URL that may be fetched; an absolute path is a file URL.
 *
 * @throws {InputError} for other schemes, credentials in it, http that was not asked for
 */
export function requireUrl(text: string, allowHttp = false): URL {
  let url: URL;
  try {
    url = text.startsWith("/") ? new URL(`file://${encodeURI(text)}`) : new URL(text);
  } catch (error) {
    throw new InputError("bad_url", `Not a URL: ${asPlainLine(text)}`, {
      cause: error,
      hint: "like https://example.org/plugins/ or /srv/plugins",
    });
  }
  const bad = (why: string, hint: string) =>
    new InputError("bad_url", `Cannot use ${asPlainLine(url.href)}: ${why}`, { hint });
  try {
    decodeURIComponent(url.pathname);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw bad("its path is escaped wrongly", "a percent sign itself is written %25");
  }
  if (url.username || url.password) {
    throw bad("it carries a password", "credentials do not belong into a URL");
  }
  if (url.protocol === "http:" && !allowHttp) {
    throw bad("plain http", "use https, or say so with --allow-http");
  }
  if (!["https:", "http:", "file:"].includes(url.protocol)) {
    throw bad(`unknown scheme ${url.protocol}`, "use https, or a path");
  }
  return url;
}

/**
 * Opens a URL.
 *
 * @throws {HttpError} for an answer that is no content
 * @throws {OpError} `unreachable`, `bad_redirect`
 */
export async function openSource(url: URL, options: SourceOptions): Promise<Source> {
  if (url.protocol === "file:") return openFile(url, options.offset ?? 0);
  let at = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const response = await request(at, options);
    if (![301, 302, 303, 307, 308].includes(response.status)) {
      return await fromResponse(response, at, options);
    }
    await response.body?.cancel();
    at = redirected(at, response.headers.get("location"), options.allowHttp ?? false);
  }
  throw new OpError("bad_redirect", `Cannot fetch ${url.href}: too many redirects`, {
    hint: "check the URL with a browser",
  });
}

async function request(url: URL, options: SourceOptions): Promise<Response> {
  const headers = new Headers({
    "accept-encoding": "identity",
    "user-agent": `op-dbus/${VERSION}`,
  });
  if (options.offset) {
    headers.set("range", `bytes=${options.offset}-`);
    if (options.ifRange) headers.set("if-range", options.ifRange);
  }
  // Only until it answers: what it sends then has limits of its own (download.ts).
  const silent = new AbortController(), { signal, answerMs } = options;
  const timer = answerMs === undefined
    ? undefined
    : setTimeout(() => silent.abort(new Error("the server does not answer")), answerMs);
  try {
    return await fetch(url, {
      headers,
      redirect: "manual",
      signal: AbortSignal.any(signal ? [signal, silent.signal] : [silent.signal]),
    });
  } catch (error) {
    signal?.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    throw new OpError("unreachable", `Cannot fetch ${url.href}: ${asPlainLine(why)}`, {
      cause: error,
      hint: "check the network and the URL",
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Where a redirect leads.
 *
 * @param location as the server gave it
 * @throws {OpError} `bad_redirect` for one to anything less safe
 */
export function redirected(from: URL, location: string | null, allowHttp: boolean): URL {
  const bad = (why: string) =>
    new OpError("bad_redirect", `Cannot fetch ${from.href}: ${why}`, {
      hint: "the server sends elsewhere; use that address if you trust it",
    });
  if (!location) throw bad("a redirect to nowhere");
  let to: URL;
  try {
    to = new URL(location, from);
  } catch (error) {
    throw bad(`a redirect to ${asPlainLine(location)}: ${error}`);
  }
  const downgrade = to.protocol === "http:" && (from.protocol === "https:" || !allowHttp);
  if (downgrade || !["http:", "https:"].includes(to.protocol)) {
    throw bad(`a redirect to ${asPlainLine(to.href)}, which is less safe`);
  }
  return to;
}

async function fromResponse(
  response: Response,
  url: URL,
  options: SourceOptions,
): Promise<Source> {
  const { status, headers } = response;
  const wanted = options.offset ?? 0;
  if ((status !== 200 && status !== 206) || !response.body) {
    await response.body?.cancel();
    throw new HttpError(status, url.href, retryAfterMs(headers));
  }
  const validator = strongValidator(headers);
  const length = Number(headers.get("content-length") ?? NaN);
  const announced = Number.isSafeInteger(length) ? length : null;
  if (status === 200) {
    return { offset: 0, totalBytes: announced, validator, body: response.body };
  }
  const range = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(
    headers.get("content-range") ?? "",
  );
  if (!range || Number(range[1]) !== wanted) {
    await response.body.cancel();
    throw new HttpError(416, url.href, null);
  }
  const totalBytes = range[2] === "*" ? null : Number(range[2]);
  return { offset: wanted, totalBytes, validator, body: response.body };
}

function strongValidator(headers: Headers): string | null {
  const tag = headers.get("etag");
  if (tag) return tag.startsWith("W/") ? null : tag;
  return headers.get("last-modified");
}

function retryAfterMs(headers: Headers): number | null {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 60) * 1000 : null;
}

function openFile(url: URL, offset: number): Source {
  const path = decodeURIComponent(url.pathname);
  const notAFile = () =>
    new InputError("bad_url", `Cannot fetch ${url.href}: not a regular file`, {
      hint: "check the path",
    });
  let opened: ReturnType<typeof openRegular>;
  try {
    opened = openRegular(path, 0, notAFile);
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) throw new HttpError(404, url.href, null);
    throw error;
  }
  const { fd, stat } = opened;
  let at = offset;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = new Uint8Array(PIECE_BYTES);
      let n = 0;
      try {
        n = pread(fd, piece, at);
      } finally {
        if (n === 0) close(fd); // its end, or what cannot be read
      }
      at += n;
      if (n > 0) return controller.enqueue(piece.subarray(0, n));
      controller.close();
    },
    cancel: () => close(fd),
  });
  return { offset, totalBytes: stat.sizeBytes, validator: null, body };
}
