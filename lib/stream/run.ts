/** Runs a source through the parser. */
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";
import { type CommandHandler, StreamParser } from "./parser.ts";
import { type ByteSource, openDecoded } from "./source.ts";

/** Options of {@link parseSource}. */
export interface ParseOptions {
  readonly limits: StreamLimits;
  readonly signal?: AbortSignal;
  /** See {@link StreamParser}: only after an audit, before a comparison of digests. */
  readonly trustData?: boolean;
  /** Called now and then with the bytes of (decompressed) stream that were parsed. */
  readonly progress?: (streamBytes: number) => void;
}

/**
 * Between two turns of the event loop, so that timers and signals live. By time, not by
 * bytes: a turn costs 2 ms, for that is what a timer of 0 ms takes, and a turn without a
 * timer sees no signal.
 */
const TURN_MS = 50;

/**
 * Parses a whole stream, handing each command to `handle`.
 *
 * @returns what the parser knows at the end
 * @throws {StreamError} when it is malformed, cut short or past a limit
 * @throws the signal's reason; what `handle` threw; {SysError} of the source
 */
export async function parseSource(
  source: ByteSource,
  options: ParseOptions,
  handle: CommandHandler,
): Promise<{ version: number; streamBytes: number; commands: number }> {
  try {
    return await parse(source, options, handle);
  } catch (error) {
    throw error instanceof StreamError ? error.from(source.name) : error;
  }
}

async function parse(source: ByteSource, options: ParseOptions, handle: CommandHandler) {
  const { limits, signal, progress } = options;
  await using reader = await openDecoded(source, limits);
  using parser = new StreamParser(limits, signal, options.trustData);
  const started = performance.now();
  let turned = started;
  for (;;) {
    signal?.throwIfAborted();
    const now = performance.now();
    if (now - started > limits.timeMs) {
      const what = `it takes longer than ${limits.timeMs} ms`;
      throw new StreamError("stream_limit", what, parser.offset);
    }
    const answer = reader.read(parser.space());
    const n = typeof answer === "number" ? answer : await answer;
    if (n === 0) break;
    parser.advance(n, handle);
    if (now - turned < TURN_MS) continue;
    progress?.(parser.offset);
    await new Promise((resolve) => setTimeout(resolve, 0));
    turned = performance.now();
  }
  parser.finish();
  progress?.(parser.offset);
  const { version, offset, commands } = parser;
  return { version, streamBytes: offset, commands };
}
