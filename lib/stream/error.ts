/** The one error that a bad or refused stream gives. */
import { EXIT, OpError } from "../base/errors.ts";

/**
 * Why a stream is not taken.
 * - `stream_corrupt`: it is no valid stream (bad crc, cut short, malformed)
 * - `stream_refused`: valid, but the policy does not allow what it does
 * - `stream_limit`: it is larger, deeper or slower than the limits allow
 */
export type StreamErrorCode = "stream_corrupt" | "stream_refused" | "stream_limit";

const HINTS: Readonly<Record<StreamErrorCode, string>> = {
  stream_corrupt: "fetch or make the file again; it is damaged or not a send stream",
  stream_refused: "do not install it; ask its author why it holds this",
  stream_limit: "do not install it, or raise the limit if you trust its author",
};

/**
 * A stream that is not taken: exit 2. The message ends with the byte offset, and names the
 * source once it is known.
 */
export class StreamError extends OpError {
  override readonly name = "StreamError";
  override readonly exitCode = EXIT.usage;
  /** Offset in the (decompressed) stream of the command at fault, in bytes. */
  readonly offset: number;
  readonly #what: string;

  /**
   * @param code what kind of fault
   * @param message what is wrong, without the offset
   * @param offset byte offset of the command in the decompressed stream
   */
  constructor(code: StreamErrorCode, message: string, offset: number) {
    super(code, `Cannot take the stream: ${message} (at byte ${offset})`, {
      hint: HINTS[code],
    });
    this.offset = offset;
    this.#what = message;
  }

  /** Says where the stream came from. @returns this error */
  from(source: string): this {
    this.message =
      `Cannot take the stream ${source}: ${this.#what} (at byte ${this.offset})`;
    return this;
  }
}
