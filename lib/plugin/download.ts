/**
 * Fetching with bounds on everything that a server may stretch: size, silence, slowness,
 * number of attempts. What is fetched is verified by the caller; nothing here believes it.
 */
import { DifferenceError, OpError } from "../base/errors.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fsync,
  ftruncate,
  O_CREAT,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  pwriteAll,
  rename,
} from "../../ffi/files.ts";
import { removeIfThere } from "./json_file.ts";
import { statAt } from "../../ffi/stat.ts";
import { HttpError, openSource, type Source } from "./fetch_source.ts";
import { digestFile } from "./minisign/sign.ts";

/** How patient to be. */
export interface Patience {
  /** No answer at all for this long ends an attempt. */
  readonly answerMs: number;
  /** Nothing more of an answer for this long ends an attempt. */
  readonly stallMs: number;
  /** Less than this on average over `windowMs` ends an attempt. */
  readonly minBytesPerSecond: number;
  readonly windowMs: number;
  /** Attempts without any new byte. */
  readonly attempts: number;
  /** Pause before the second attempt; doubles each time. */
  readonly pauseMs: number;
}

/** The default: a phone's connection passes, a server that drips does not. */
export const PATIENCE: Patience = {
  answerMs: 30_000,
  stallMs: 30_000,
  minBytesPerSecond: 1024,
  windowMs: 20_000,
  attempts: 4,
  pauseMs: 500,
};

/** How to fetch. */
export interface FetchOptions {
  readonly allowHttp?: boolean;
  readonly signal?: AbortSignal;
  readonly patience?: Patience;
  readonly onProgress?: (doneBytes: number, totalBytes: number | null) => void;
  /** Told before each pause between two attempts. @param why the last one failed */
  readonly waiting?: (pauseMs: number, why: string) => void;
}

/** What a download must be. */
export interface DownloadTarget {
  /** Where it goes, whole; `.part` is added while it is not. */
  readonly path: string;
  /** Exact where `sha256` is given, else the most. */
  readonly sizeBytes: number;
  /** Lower-case hex; makes a part from an earlier run resumable. */
  readonly sha256?: string;
}

/** A fault of the moment: worth another attempt. */
class AttemptError extends OpError {}

/**
 * A small file into memory.
 *
 * @param limitBytes refuses more
 * @returns null where the server has no such file
 */
export async function fetchBytes(
  url: URL,
  limitBytes: number,
  options: FetchOptions = {},
): Promise<Uint8Array<ArrayBuffer> | null> {
  return await withAttempts(options, () => 0, async () => {
    let source: Source;
    try {
      const { answerMs } = options.patience ?? PATIENCE;
      source = await openSource(url, { ...options, answerMs });
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return null;
      throw error;
    }
    const pieces: Uint8Array[] = [];
    await drain(source, url, limitBytes, options, (piece) => pieces.push(piece));
    const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  });
}

/**
 * A file onto the disk, resuming what an earlier attempt or run left.
 *
 * @throws {OpError} `too_large`, `incomplete`, `too_slow`, `unreachable`, `http_error`
 * @throws {DifferenceError} `wrong_digest`
 */
export async function download(
  url: URL,
  target: DownloadTarget,
  options: FetchOptions = {},
): Promise<void> {
  const part = `${target.path}.part`;
  // Without a digest nothing says that an old part is of the same content.
  if (target.sha256 === undefined) removeIfThere(part);
  let resumed = sizeOf(part) > 0;
  const state = { validator: null as string | null };
  for (;;) {
    await withAttempts(
      options,
      () => sizeOf(part),
      () => downloadOnce(url, target, part, state, options),
    );
    if (target.sha256 === undefined || digestFile(part).sha256 === target.sha256) break;
    removeIfThere(part);
    if (!resumed) {
      throw new DifferenceError("wrong_digest", `Wrong content from ${url.href}`, {
        hint: "its SHA-256 is not the one in the index: run op-dbus repo update, or " +
          "tell whoever runs that server",
      });
    }
    resumed = false; // the old part may have been the wrong one: once more, from zero
  }
  rename(part, target.path);
}

async function downloadOnce(
  url: URL,
  target: DownloadTarget,
  part: string,
  state: { validator: string | null },
  options: FetchOptions,
): Promise<void> {
  let have = sizeOf(part);
  const exact = target.sha256 !== undefined;
  if (exact && have === target.sizeBytes) return;
  if (have > target.sizeBytes || (!exact && state.validator === null)) have = 0;
  let source: Source;
  try {
    source = await openSource(url, {
      ...options,
      answerMs: (options.patience ?? PATIENCE).answerMs,
      offset: have,
      ifRange: exact ? null : state.validator,
    });
  } catch (error) {
    if (!(error instanceof HttpError) || error.status !== 416) throw error;
    removeIfThere(part);
    throw attempt("incomplete", `Cannot resume ${url.href}`);
  }
  state.validator = source.validator;
  let fd: number;
  try {
    fd = open(part, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
  } catch (error) {
    await source.body.cancel();
    throw error;
  }
  let at = source.offset;
  try {
    ftruncate(fd, at);
    const limit = target.sizeBytes - at;
    await drain(source, url, limit, options, (piece) => {
      pwriteAll(fd, piece, at);
      at += piece.length;
    });
    fsync(fd, part);
  } catch (error) {
    if (isSysError(error, "ENOSPC", "EDQUOT")) removeIfThere(part);
    throw error;
  } finally {
    close(fd);
  }
  if (exact && at < target.sizeBytes) {
    throw attempt("incomplete", `Cannot fetch ${url.href}: it ended after ${at} bytes`);
  }
}

/** Reads a source to its end, watching size and speed. */
async function drain(
  source: Source,
  url: URL,
  limitBytes: number,
  options: FetchOptions,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const patience = options.patience ?? PATIENCE;
  const total = source.totalBytes;
  const tooLarge = () =>
    new OpError(
      "too_large",
      `Cannot fetch ${url.href}: larger than announced or allowed`,
      {
        hint: "run op-dbus repo update; if it stays so, do not trust that server",
      },
    );
  if (total !== null && total > limitBytes + source.offset) {
    await source.body.cancel();
    throw tooLarge();
  }
  const reader = source.body.getReader();
  let done = 0, windowBytes = 0, windowStart = Date.now();
  try {
    for (;;) {
      const piece = await readOrStall(reader, url, patience.stallMs, options.signal);
      if (piece === null) break;
      done += piece.length;
      windowBytes += piece.length;
      if (done > limitBytes) throw tooLarge();
      take(piece);
      options.onProgress?.(source.offset + done, total);
      const elapsedMs = Date.now() - windowStart;
      if (elapsedMs < patience.windowMs) continue;
      if (windowBytes * 1000 < patience.minBytesPerSecond * elapsedMs) throw slow(url);
      windowBytes = 0;
      windowStart = Date.now();
    }
  } finally {
    await reader.cancel().catch(() => {}); // the error that led here is the one to tell
  }
  if (total !== null && source.offset + done < total) {
    throw attempt("incomplete", `Cannot fetch ${url.href}: the connection was cut`);
  }
}

async function readOrStall(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  url: URL,
  stallMs: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | null> {
  signal?.throwIfAborted();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(slow(url)), stallMs);
  });
  try {
    const { done, value } = await Promise.race([reader.read(), stalled]);
    return done ? null : value;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof OpError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw attempt("incomplete", `Cannot fetch ${url.href}: ${why}`);
  } finally {
    clearTimeout(timer);
  }
}

function slow(url: URL): AttemptError {
  return attempt("too_slow", `Cannot fetch ${url.href}: the server sends too slowly`);
}

function attempt(code: string, message: string): AttemptError {
  return new AttemptError(code, message, { hint: "try again, or use another mirror" });
}

/** Tries again after faults of the moment; new bytes start the count anew. */
async function withAttempts<T>(
  options: FetchOptions,
  progress: () => number,
  body: () => Promise<T>,
): Promise<T> {
  const { attempts, pauseMs } = options.patience ?? PATIENCE;
  let best = progress();
  for (let failures = 0;;) {
    try {
      return await body();
    } catch (error) {
      options.signal?.throwIfAborted();
      const transient = error instanceof AttemptError ||
        (error instanceof HttpError && error.transient) ||
        (error instanceof OpError && error.code === "unreachable");
      const now = progress();
      failures = now > best ? 1 : failures + 1;
      best = Math.max(best, now);
      if (!transient || failures >= attempts) throw error;
      const asked = error instanceof HttpError ? error.retryAfterMs : null;
      const forMs = asked ?? pauseMs * 2 ** (failures - 1);
      options.waiting?.(forMs, error.message);
      await pause(forMs, options.signal);
    }
  }
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
  signal?.throwIfAborted();
}

function sizeOf(path: string): number {
  try {
    return statAt(AT_FDCWD, path).sizeBytes;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return 0;
    throw error;
  }
}
