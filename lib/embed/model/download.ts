/** One file over HTTP: resumed where it was cut, never larger than allowed, checked. */
import { close, fsync, O_RDONLY, open } from "../../../ffi/files.ts";
import { DifferenceError, OpError } from "../../base/errors.ts";
import { hashFile } from "./hash.ts";
import { get, type Hub, retryAfterMs } from "./hub.ts";

/** What to fetch, and how patiently. */
export interface DownloadOptions {
  /** Refuses a larger file, whatever the server says about its size. */
  readonly maxBytes: number;
  /** SHA-256 in lowercase hex that the file must have. */
  readonly sha256?: string;
  readonly signal?: AbortSignal;
  /** @param done bytes here @param total bytes in all, 0 when unknown */
  readonly progress?: (done: number, total: number) => void;
  /** Told before each pause between two attempts. @param why the last one failed */
  readonly waiting?: (pauseMs: number, why: string) => void;
  /** Waits; tests hand in one that does not. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Attempts in a row that bring nothing, before it gives up. */
const MAX_FRUITLESS_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 5 * 60 * 1000;
/** A connection that is silent for this long is dead. */
const SILENCE_MS = 60 * 1000;

/** A failure that another attempt may mend. */
class Interruption extends Error {
  constructor(message: string, readonly pauseMs: number | null = null) {
    super(message);
  }
}

/**
 * Fetches a file to `target`; `target.part` holds what came so far, also across calls.
 *
 * @returns its SHA-256, or null when the server has no such file
 * @throws {DifferenceError} when the bytes are not the expected ones; they are deleted
 * @throws {OpError} for anything else that another attempt does not mend
 */
export async function download(
  hub: Hub,
  url: URL,
  target: string,
  options: DownloadOptions,
): Promise<string | null> {
  const signal = options.signal ?? new AbortController().signal;
  const pause = options.sleep ?? sleep;
  const part = new Part(target);
  let fruitless = 0;
  for (;;) {
    const before = part.sizeBytes();
    try {
      const stated = await attempt(hub, url, part, options, signal);
      if (stated === "absent") return null;
      if (stated === "unchanged") part.adopt();
      const known = stated === "unchanged" ? null : stated;
      return await finish(url, part, known, options);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Interruption)) throw error;
      fruitless = part.sizeBytes() > before ? 0 : fruitless + 1;
      if (fruitless >= MAX_FRUITLESS_ATTEMPTS) {
        throw new OpError("download_failed", `Cannot fetch ${url}: ${error.message}`, {
          cause: error,
          hint: "run the command again: it goes on where it stopped",
        });
      }
      const backoff = FIRST_PAUSE_MS * 2 ** fruitless;
      const pauseMs = Math.min(MAX_PAUSE_MS, error.pauseMs ?? backoff);
      options.waiting?.(pauseMs, `Cannot fetch ${url}: ${error.message}`);
      await pause(pauseMs, signal);
    }
  }
}

/** The bytes that came so far, and which version of the file they are of. */
class Part {
  readonly path: string;
  readonly #etagPath: string;

  constructor(readonly target: string) {
    this.path = `${target}.part`;
    this.#etagPath = `${target}.etag`;
  }

  sizeBytes(): number {
    return statSize(this.path);
  }

  etag(): string | null {
    return statSize(this.#etagPath) > 0 ? Deno.readTextFileSync(this.#etagPath) : null;
  }

  /** True when an earlier call fetched all of it. */
  get whole(): boolean {
    return this.sizeBytes() < 0 && statSize(this.target) >= 0;
  }

  /** The whole file is still the server's: it is checked again like a fresh one. */
  adopt(): void {
    Deno.renameSync(this.target, this.path);
  }

  /** Starts over, for the version named. */
  reset(etag: string | null): void {
    remove(this.target);
    Deno.writeTextFileSync(this.#etagPath, etag ?? "");
    Deno.writeFileSync(this.path, new Uint8Array());
  }

  /** The tag stays, so that the next call can ask whether the file is still the same. */
  finish(): void {
    Deno.renameSync(this.path, this.target);
  }

  remove(): void {
    for (const path of [this.path, this.#etagPath, this.target]) remove(path);
  }
}

function remove(path: string): void {
  if (statSize(path) >= 0) Deno.removeSync(path);
}

function statSize(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return -1;
    throw error;
  }
}

async function attempt(
  hub: Hub,
  url: URL,
  part: Part,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<string | null | "absent" | "unchanged"> {
  const have = part.sizeBytes(), etag = part.etag();
  // Without a strong tag nobody can say whether the rest is of the same file.
  const resume = have > 0 && etag !== null && !etag.startsWith("W/");
  const headers: Record<string, string> = {};
  if (resume) Object.assign(headers, { range: `bytes=${have}-`, "if-range": etag });
  else if (part.whole && etag !== null) headers["if-none-match"] = etag;
  const silence = new AbortController();
  const alive = watchdog(silence);
  try {
    const either = AbortSignal.any([signal, silence.signal]);
    const { response, sha256 } = await get(hub, url, headers, either);
    try {
      if (response.status === 404) return "absent";
      if (response.status === 304 && part.whole) return "unchanged";
      checkStatus(url, response, part);
      await receive(url, response, part, resume ? have : 0, options, alive);
      return sha256;
    } finally {
      if (response.body && !response.bodyUsed) await response.body.cancel();
    }
  } catch (error) {
    if (error instanceof OpError || error instanceof Interruption) throw error;
    if (isStorageError(error)) throw error;
    throw new Interruption(error instanceof Error ? error.message : String(error));
  } finally {
    alive.stop();
  }
}

function isStorageError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return ["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EIO"].includes(String(code)) ||
    error instanceof Deno.errors.PermissionDenied;
}

function checkStatus(url: URL, response: Response, part: Part): void {
  const { status } = response;
  const type = response.headers.get("content-type") ?? "";
  if (status === 416) {
    part.remove();
    throw new Interruption("the file changed on the server");
  }
  if (status === 429 || status >= 500) {
    throw new Interruption(
      `the server answered ${status}`,
      retryAfterMs(response, Date.now()),
    );
  }
  if (status === 401 || status === 403) {
    throw new OpError("forbidden", `Cannot fetch ${url}: the server answered ${status}`, {
      hint: "there is no such model, or it is private or gated: set HF_TOKEN",
    });
  }
  if (status !== 200 && status !== 206) {
    throw new OpError("download_failed", `Cannot fetch ${url}: it answered ${status}`);
  }
  if (type.toLowerCase().startsWith("text/html")) {
    throw new OpError("not_a_file", `Cannot fetch ${url}: it is a web page, not a file`, {
      hint: "check the hub's address (models.hub) and the model's name",
    });
  }
}

async function receive(
  url: URL,
  response: Response,
  part: Part,
  have: number,
  options: DownloadOptions,
  alive: { touch(): void },
): Promise<void> {
  let at = have;
  if (response.status === 200) at = 0;
  else if (rangeStart(response) !== have) {
    part.remove();
    throw new Interruption("the server sent another range than it was asked for");
  }
  if (at === 0) part.reset(response.headers.get("etag"));
  const length = response.headers.get("content-length");
  const total = length === null ? 0 : at + Number(length);
  if (total > options.maxBytes) throw tooLarge(url, options.maxBytes);
  using file = await Deno.open(part.path, { write: true });
  await file.seek(at, Deno.SeekMode.Start);
  for await (const chunk of response.body ?? []) {
    alive.touch();
    at += chunk.length;
    if (at > options.maxBytes) {
      file.close();
      part.remove();
      throw tooLarge(url, options.maxBytes);
    }
    for (let done = 0; done < chunk.length;) {
      done += await file.write(chunk.subarray(done));
    }
    options.progress?.(at, total);
  }
  if (total > 0 && at < total) {
    throw new Interruption(`it ended at byte ${at} of ${total}`);
  }
}

function tooLarge(url: URL, maxBytes: number): OpError {
  const left = `${maxBytes} bytes, which is what models.max_size leaves for it`;
  return new OpError("too_large", `Cannot fetch ${url}: it is over ${left}`, {
    hint: "raise models.max_size, if the model is meant to be that large",
  });
}

function rangeStart(response: Response): number {
  const match = /^bytes (\d{1,15})-/.exec(response.headers.get("content-range") ?? "");
  return match ? Number(match[1]) : -1;
}

/** Checks the bytes and gives the file its name. */
async function finish(
  url: URL,
  part: Part,
  stated: string | null,
  options: DownloadOptions,
): Promise<string> {
  const { sha256 } = await hashFile(part.path, options.signal);
  const expected = options.sha256 ?? stated;
  if (expected !== null && sha256 !== expected) {
    part.remove();
    const who = options.sha256 ? "the pinned one" : "the one that the hub states";
    throw new DifferenceError(
      "bad_digest",
      `Cannot use ${url}: its SHA-256 ${sha256} is not ${who} (${expected})`,
      { hint: "nothing was kept; ask the model's publisher before you pin another" },
    );
  }
  const fd = open(part.path, O_RDONLY);
  try {
    fsync(fd, part.path);
  } finally {
    close(fd);
  }
  part.finish();
  return sha256;
}

function watchdog(silence: AbortController): { touch(): void; stop(): void } {
  const bark = () => silence.abort(new Interruption("the connection went silent"));
  let timer = setTimeout(bark, SILENCE_MS);
  return {
    touch() {
      clearTimeout(timer);
      timer = setTimeout(bark, SILENCE_MS);
    },
    stop: () => clearTimeout(timer),
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
