/**
 * SHA-256 of many short texts after one beginning. Calling the system's SHA-256 costs more
 * than hashing fifty characters; here the beginning's whole blocks are hashed once, and a
 * text's bytes go to where the hash reads them.
 */
import { SHA256_BASE64 } from "./sha256_wasm.ts";

/** Longer texts are left to the system: it hashes more bytes per second. */
export const SHORT_TEXT_CHARS = 512;
const DIGEST_BYTES = 32, BLOCK_BYTES = 64, LENGTH_BYTES = 8;
/** Places in the module's memory; up to 288 it keeps its constants. */
const START_AT = 256, DIGEST_AT = 320, STATE_AT = 384, PREFIX_AT = 512, TEXT_AT = 2048;

interface Sha256 {
  /** All of the module's memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly states: Uint32Array<ArrayBuffer>;
  blocks(from: number, source: number, count: number, to: number, digest: number): void;
}

let shared: Sha256 | undefined;
/** Whose state and tail are in the memory, and how many digits come after the tail. */
let loaded: PrefixHash | undefined, loadedDigits = 0;

function sha256(): Sha256 {
  if (shared) return shared;
  const module = new WebAssembly.Module(Uint8Array.fromBase64(SHA256_BASE64));
  const { exports } = new WebAssembly.Instance(module);
  const { buffer } = exports.memory as WebAssembly.Memory;
  return shared = {
    bytes: new Uint8Array(buffer as ArrayBuffer),
    view: new DataView(buffer as ArrayBuffer),
    states: new Uint32Array(buffer as ArrayBuffer, STATE_AT, DIGEST_BYTES / 4),
    blocks: exports.blocks as Sha256["blocks"],
  };
}

/** The last digest as eight words, and as bytes; written over by the next one. */
export function digestViews(): { words: Uint32Array; bytes: Uint8Array } {
  const { buffer } = sha256().bytes;
  return {
    words: new Uint32Array(buffer, DIGEST_AT, DIGEST_BYTES / 4),
    bytes: new Uint8Array(buffer, DIGEST_AT, DIGEST_BYTES),
  };
}

const encoder = new TextEncoder();

/** Hashes `prefix`, a text's length in UTF-8 bytes, a colon, and the text. */
export class PrefixHash {
  readonly #state: Uint32Array;
  /** What of the prefix fills no block. */
  readonly #tail: Uint8Array;
  readonly #prefixBytes: number;

  /** @param prefix at most 1 kB, else {@link canHash} is false */
  constructor(prefix: string) {
    const bytes = encoder.encode(prefix);
    this.#prefixBytes = bytes.length;
    const whole = bytes.length - bytes.length % BLOCK_BYTES;
    this.#tail = bytes.subarray(whole);
    this.canHash = bytes.length <= 1024;
    this.#state = new Uint32Array(DIGEST_BYTES / 4);
    if (!this.canHash) return;
    const { bytes: memory, states, blocks } = sha256();
    loaded = undefined;
    memory.copyWithin(STATE_AT, START_AT, START_AT + DIGEST_BYTES);
    memory.set(bytes.subarray(0, whole), PREFIX_AT);
    if (whole > 0) blocks(STATE_AT, PREFIX_AT, whole / BLOCK_BYTES, STATE_AT, 0);
    this.#state.set(states);
  }

  readonly canHash: boolean;

  /**
   * Hashes a text of at most {@link SHORT_TEXT_CHARS}; the digest is in
   * {@link digestViews} until the next one.
   *
   * @param text well-formed
   */
  digest(text: string): void {
    const { bytes, view, blocks } = shared!;
    let end = TEXT_AT, all = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      all |= code;
      bytes[end++] = code;
    }
    if (all > 0x7f) {
      end = TEXT_AT + encoder.encodeInto(text, bytes.subarray(TEXT_AT)).written;
    }
    // The length goes before the text, the tail before the length.
    const begin = this.#lead(bytes, end - TEXT_AT);
    const hashed = this.#prefixBytes - this.#tail.length + end - begin;
    bytes[end++] = 0x80;
    const rest = (begin - end - LENGTH_BYTES) & (BLOCK_BYTES - 1);
    for (let i = 0; i < rest + 4; i++) bytes[end++] = 0; // and the length's upper half
    view.setUint32(end, hashed * 8);
    blocks(STATE_AT, begin, (end + 4 - begin) >> 6, DIGEST_AT, 1);
  }

  /** Puts the length and the tail before the text; returns where they begin. */
  #lead(bytes: Uint8Array, textBytes: number): number {
    let at = TEXT_AT;
    bytes[--at] = 0x3a; // the colon
    let left = textBytes, digits = 0;
    do {
      bytes[--at] = 0x30 + left % 10;
      left = Math.trunc(left / 10);
      digits++;
    } while (left > 0);
    if (loaded !== this || loadedDigits !== digits) {
      shared!.states.set(this.#state);
      bytes.set(this.#tail, at - this.#tail.length);
      loaded = this;
      loadedDigits = digits;
    }
    return at - this.#tail.length;
  }
}
