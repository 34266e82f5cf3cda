/**
 * The send stream parser: bytes in, typed commands out, in a fixed amount of memory.
 *
 * It is pushed to rather than pulled from, so that one code path serves files read
 * synchronously, pipes and decompressors. The caller reads straight into
 * {@link StreamParser.space}; nothing is copied on the way to a command's data.
 */
import {
  CMD,
  COMMAND_HEADER_BYTES,
  COMMAND_SHAPES,
  MAX_STREAM_VERSION,
  STREAM_HEADER_BYTES,
  STREAM_MAGIC,
} from "./format.ts";
import type { StreamCommand } from "./command.ts";
import { type CrcBuffer, crcBuffer } from "./crc32c.ts";
import { CommandDecoder } from "./decode.ts";
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";

/** Read ahead beyond one command, so that reads are large. */
const READ_AHEAD_BYTES = 1024 * 1024;
/** Clock and abort signal are looked at once in so many commands. */
const CHECK_EVERY = 1024;

/** Receives each command; what it throws ends the parse. */
export type CommandHandler = (command: StreamCommand, parser: StreamParser) => void;

/** Where a parser stands and what it found in the header. */
export class StreamParser implements Disposable {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #buffer: CrcBuffer;
  readonly #decoder: CommandDecoder;
  readonly #limits: StreamLimits;
  readonly #deadline: number;
  readonly #signal: AbortSignal | undefined;
  readonly #trustData: boolean;
  /** Unparsed bytes are #start..#end of the buffer. */
  #start = 0;
  #end = 0;
  /** Stream offset of #start. */
  #offset = 0;
  #version = 0;
  #ended = false;
  #commands = 0;

  /**
   * @param limits see limits.ts
   * @param signal ends the parse between commands
   * @param trustData leave out the crc of writes: for a stream whose every crc was checked
   *   before and whose files are compared by SHA-256 afterwards
   */
  constructor(limits: StreamLimits, signal?: AbortSignal, trustData = false) {
    this.#trustData = trustData;
    this.#buffer = crcBuffer(limits.commandBytes + READ_AHEAD_BYTES);
    this.#bytes = this.#buffer.bytes;
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
    this.#decoder = new CommandDecoder(this.#bytes, limits.depth);
    this.#limits = limits;
    this.#deadline = performance.now() + limits.timeMs;
    this.#signal = signal;
  }

  /** Stream version, once the header has been read; 0 before. */
  get version(): number {
    return this.#version;
  }
  /** Bytes parsed. */
  get offset(): number {
    return this.#offset;
  }
  /** Commands parsed. */
  get commands(): number {
    return this.#commands;
  }
  /** True once END was seen. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Room to read the next bytes into, at least one command's; then {@link advance}. */
  space(): Uint8Array<ArrayBuffer> {
    if (this.#start > 0) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#bytes.subarray(this.#end);
  }

  /**
   * Parses what is complete after `count` more bytes lie in the buffer.
   *
   * @param count bytes put into {@link space}
   * @param handle called for each command, in order
   * @throws {StreamError} with the offset of what is wrong; or what `handle` threw
   */
  advance(count: number, handle: CommandHandler): void {
    this.#end += count;
    if (this.#offset + (this.#end - this.#start) > this.#limits.streamBytes) {
      throw this.#limit(`it is longer than ${this.#limits.streamBytes} bytes`);
    }
    if (this.#version === 0 && !this.#header()) return;
    while (this.#next(handle));
    if (this.#ended && this.#end > this.#start) {
      throw this.#corrupt("there are bytes after its end");
    }
  }

  /** To be called at the end of the input. @throws {StreamError} when END is missing */
  finish(): void {
    if (this.#ended) return;
    const what = this.#offset === 0 && this.#end === 0
      ? "it is empty"
      : "it is cut short";
    throw this.#corrupt(what);
  }

  /** Gives the buffer back: commands that were handed out are void. */
  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
  }

  #corrupt(what: string): StreamError {
    return new StreamError("stream_corrupt", what, this.#offset);
  }
  #limit(what: string): StreamError {
    return new StreamError("stream_limit", what, this.#offset);
  }

  #header(): boolean {
    const known = Math.min(STREAM_MAGIC.length, this.#end);
    for (let at = 0; at < known; at++) {
      if (this.#bytes[at] !== STREAM_MAGIC[at]) {
        throw this.#corrupt("it does not begin with 'btrfs-stream'");
      }
    }
    if (this.#end < STREAM_HEADER_BYTES) return false;
    const version = this.#view.getUint32(STREAM_MAGIC.length, true);
    if (version < 1 || version > MAX_STREAM_VERSION) {
      throw this.#corrupt(`its version is ${version}, not 1 to ${MAX_STREAM_VERSION}`);
    }
    this.#version = version;
    this.#start = this.#offset = STREAM_HEADER_BYTES;
    return true;
  }

  /** Parses one command; false when it is not all there yet, or the stream has ended. */
  #next(handle: CommandHandler): boolean {
    const start = this.#start, available = this.#end - start;
    if (this.#ended || available < COMMAND_HEADER_BYTES) return false;
    const size = this.#view.getUint32(start, true) + COMMAND_HEADER_BYTES;
    const number = this.#view.getUint16(start + 4, true);
    const shape = COMMAND_SHAPES[number];
    if (shape === undefined || shape.version > this.#version) {
      throw this.#corrupt(`command ${number} is unknown in version ${this.#version}`);
    }
    if (size > this.#limits.commandBytes) {
      throw this.#limit(`a command of ${size} bytes`);
    }
    if (available < size) return false;
    if (!this.#trustData || number !== CMD.write) this.#checkCrc(shape.name, size);
    this.#checkPace();
    const command = this.#decoder.decode(
      shape,
      start + COMMAND_HEADER_BYTES,
      start + size,
      this.#version,
      this.#offset,
    );
    handle(command, this);
    if (number === CMD.end) this.#ended = true;
    this.#start += size;
    this.#offset += size;
    return true;
  }

  #checkCrc(name: string, size: number): void {
    const at = this.#start + 6, wanted = this.#view.getUint32(at, true);
    this.#view.setUint32(at, 0, true);
    if (this.#buffer.crc(this.#start, size) !== wanted) {
      throw this.#corrupt(`${name}: bad crc`);
    }
  }

  #checkPace(): void {
    if (++this.#commands > this.#limits.commands) {
      throw this.#limit(`more than ${this.#limits.commands} commands`);
    }
    if (this.#commands % CHECK_EVERY !== 0) return;
    this.#signal?.throwIfAborted();
    if (performance.now() > this.#deadline) {
      throw this.#limit(`it takes longer than ${this.#limits.timeMs} ms`);
    }
  }
}
