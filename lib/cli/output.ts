/**
 * Everything that op-dbus prints. Standard output carries results only; all else goes to
 * standard error.
 */
import { multiLine } from "./escape.ts";
import { asOpError, type OpError } from "../base/errors.ts";

/** Thrown when the reader of standard output is gone (`| head -1`); ends quietly. */
export class ClosedPipeError extends Error {
  override readonly name = "ClosedPipeError";
}

/** How to print. */
export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly color: boolean;
  readonly progress: boolean;
}

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
const STYLES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

const encoder = new TextEncoder();

/** Writes all of it, also to a pipe that takes it in pieces or is non-blocking. */
function writeFully(stream: typeof Deno.stdout | typeof Deno.stderr, bytes: Uint8Array) {
  let done = 0;
  while (done < bytes.length) {
    try {
      done += stream.writeSync(bytes.subarray(done));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new ClosedPipeError();
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** The two streams of one run, and how to print on them. */
export class Output {
  constructor(readonly options: OutputOptions) {}

  /** True when results are wanted as JSON. */
  get json(): boolean {
    return this.options.json;
  }

  /** Raw bytes on standard output. */
  bytes(bytes: Uint8Array): void {
    writeFully(Deno.stdout, bytes);
  }

  /** Text on standard output, with a line end. */
  line(text = ""): void {
    this.bytes(encoder.encode(text + "\n"));
  }

  /** A value as one line of JSON on standard output. */
  jsonLine(value: unknown): void {
    this.line(JSON.stringify(value, bigintAsNumber));
  }

  /**
   * The result of a command: a JSON document with `--json`, else text.
   *
   * @param value JSON values with stable names in snake_case
   * @param text the same for people; called only when it is printed
   */
  result(value: unknown, text: () => string): void {
    if (this.json) return this.line(JSON.stringify(value, bigintAsNumber, 2));
    const body = text();
    if (body !== "") this.line(body);
  }

  /** What a person may want to know, on standard error; not with `--quiet`. */
  note(text: string): void {
    if (!this.options.quiet) this.#stderr(text);
  }

  /** What a person should know, on standard error; also with `--quiet`. */
  warn(text: string): void {
    this.#stderr(`${this.style("yellow", "warning")}: ${oneLine(text)}`);
  }

  /** A line of a service's log, on standard error, as it is. */
  log(text: string): void {
    this.#stderr(oneLine(text));
  }

  /** Details, on standard error, with `--verbose` only. */
  debug(text: string): void {
    if (this.options.verbose) this.#stderr(this.style("dim", text));
  }

  /**
   * An error as the contract has it: one line, or one JSON document.
   * @returns the same as an {@link OpError}, for its exit code
   */
  error(error: unknown): OpError {
    const known = asOpError(error);
    this.#stderr(
      this.json ? errorJson(known) : errorLine(known, this.style("red", "op-dbus")),
    );
    if (this.options.verbose && !this.json) this.#stderr(stackOf(known));
    return known;
  }

  /** Text with a colour or weight, where colours are on. */
  style(style: Style, text: string): string {
    if (!this.options.color) return text;
    const [on, off] = STYLES[style];
    return `\x1b[${on}m${text}\x1b[${off}m`;
  }

  #stderr(text: string): void {
    try {
      writeFully(Deno.stderr, encoder.encode(text + "\n"));
    } catch (error) {
      // With standard error gone there is nobody left to tell.
      if (!(error instanceof ClosedPipeError)) throw error;
    }
  }
}

/** Names and messages come from outside too: no control character reaches a terminal. */
function oneLine(text: string): string {
  return multiLine(text.replace(/\s*\n\s*/g, " "));
}

function errorLine(error: OpError, program: string): string {
  const hint = error.hint ? ` (${oneLine(error.hint)})` : "";
  return `${program}: ${oneLine(error.message)}${hint}`;
}

function errorJson(error: OpError): string {
  const { code, message, hint } = error;
  return JSON.stringify({ error: { code, message, hint: hint ?? null } });
}

function stackOf(error: OpError): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${error.cause.stack}` : "";
  return `${error.stack}${cause}`;
}

function bigintAsNumber(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
