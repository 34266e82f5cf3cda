/** Texts to embed: from arguments, a file or standard input; by line or as JSON lines. */
import { asOpError, InputError } from "../base/errors.ts";
import { close, O_RDONLY, open, read } from "../../ffi/files.ts";

/** One text and where it came from. */
export interface InputText {
  readonly text: string;
  /** Line in the input, from 1; the argument's number for arguments. */
  readonly line: number;
  /** The `id` of a JSON line, as it was given. */
  readonly id?: unknown;
}

/** Longest text that is read, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 16 * 1024 * 1024;

/** Read at once from what only libc may open. */
const PIECE_BYTES = 64 * 1024;

/** Counts what was left out. */
export interface InputStats {
  emptyLines: number;
}

/**
 * The texts of the command line's arguments.
 * @throws {InputError} on an empty one
 */
export function textsOfArguments(texts: readonly string[]): InputText[] {
  return texts.map((text, i) => {
    if (text === "") {
      throw new InputError("empty_text", `Cannot embed argument ${i + 1}: it is empty`, {
        hint: "give a text with at least one character",
      });
    }
    return { text, line: i + 1 };
  });
}

/**
 * The texts of a file, one per line, or one JSON value per line.
 *
 * @param file path, or `-` for standard input
 * @param jsonl each line is a JSON string or an object with `text` and perhaps `id`
 * @param stats counts the empty lines, which are left out
 * @param signal ends the reading, also while it waits for a slow writer
 * @throws {InputError} on invalid UTF-8 or JSON (with the line), an over-long line, a
 *   missing file or a folder
 */
export async function* textsOfFile(
  file: string,
  jsonl: boolean,
  stats: InputStats,
  signal?: AbortSignal,
): AsyncGenerator<InputText> {
  const name = file === "-" ? "standard input" : file;
  let line = 0;
  for await (const bytes of linesOf(file, name, signal)) {
    line += 1;
    const text = decodeLine(bytes, name, line);
    if (text.trim() === "") {
      stats.emptyLines += 1;
      continue;
    }
    yield jsonl ? parseJsonLine(text, name, line) : { text, line };
  }
}

function decodeLine(bytes: Uint8Array, name: string, line: number): string {
  const end = bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length; // CRLF
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end));
  } catch (error) {
    throw new InputError(
      "invalid_utf8",
      `Cannot read ${name}, line ${line}: it is not UTF-8`,
      { hint: "convert it first, e.g. iconv -f latin1 -t utf-8", cause: error },
    );
  }
}

function parseJsonLine(text: string, name: string, line: number): InputText {
  const fail = (why: string, cause?: unknown) =>
    new InputError("invalid_jsonl", `Cannot read ${name}, line ${line}: ${why}`, {
      hint: 'each line is {"text": "..."} or a JSON string',
      ...(cause !== undefined && { cause }),
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error), error);
  }
  const record = typeof value === "string" ? { text: value } : value;
  if (record === null || typeof record !== "object" || !("text" in record)) {
    throw fail("it has no text");
  }
  if (typeof record.text !== "string" || record.text === "") {
    throw fail("its text is not a string with at least one character");
  }
  return { text: record.text, line, ...("id" in record && { id: record.id }) };
}

/** The lines of a file as bytes, without their ends; holds one line at a time. */
async function* linesOf(
  file: string,
  name: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of chunksOf(file, name, signal)) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      const piece = chunk.subarray(start, end === -1 ? chunk.length : end);
      restBytes += piece.length;
      if (restBytes > MAX_TEXT_BYTES) throw tooLong(name);
      rest.push(piece);
      if (end === -1) break;
      yield join(rest, restBytes);
      [rest, restBytes, start] = [[], 0, end + 1];
    }
  }
  if (restBytes > 0) yield join(rest, restBytes);
}

async function streamOf(file: string): Promise<ReadableStream<Uint8Array>> {
  if (file === "-") return Deno.stdin.readable;
  try {
    return (await Deno.open(file)).readable;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    return streamByLibc(file);
  }
}

/** Deno opens nothing below /dev and /proc: `--file <(command)` is /dev/fd/63. */
function streamByLibc(file: string): ReadableStream<Uint8Array> {
  const fd = open(file, O_RDONLY);
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = new Uint8Array(PIECE_BYTES);
      const count = read(fd, piece);
      if (count > 0) return controller.enqueue(piece.subarray(0, count));
      close(fd);
      controller.close();
    },
    cancel: () => close(fd),
  });
}

async function* chunksOf(
  file: string,
  name: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const doing = `Cannot read ${name}`;
  let reader: ReadableStreamDefaultReader<Uint8Array>;
  try {
    reader = (await streamOf(file)).getReader();
  } catch (error) {
    throw inputError(error, doing);
  }
  // A pending read of a terminal or pipe would otherwise hold Ctrl-C back.
  const stop = () => void reader.cancel();
  signal?.addEventListener("abort", stop, { once: true });
  let broken = false; // a broken stream cannot be cancelled: it throws again
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    broken = true;
    throw inputError(error, doing);
  } finally {
    signal?.removeEventListener("abort", stop);
    if (!broken) await reader.cancel();
  }
}

/** What the user named is wrong: exit 2, with the system's own reason. */
function inputError(error: unknown, doing: string): InputError {
  const { code, message, hint } = asOpError(error, doing);
  return new InputError(code, message, { cause: error, ...(hint && { hint }) });
}

function tooLong(name: string): InputError {
  return new InputError(
    "text_too_long",
    `Cannot read ${name}: a line is longer than ${MAX_TEXT_BYTES} bytes`,
    { hint: "split it into shorter texts" },
  );
}

function join(pieces: readonly Uint8Array[], total: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const all = new Uint8Array(total);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
