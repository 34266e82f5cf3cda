/** The identity of a vector (DESIGN.md): never the text alone. */
import { hash } from "node:crypto";
import { Buffer } from "node:buffer";
import { InputError } from "../base/errors.ts";
import type { ModelIdentity } from "../embed/embedder.ts";
import { MAX_DIMENSIONS } from "./codec.ts";
import { digestViews, PrefixHash, SHORT_TEXT_CHARS } from "./key_hash.ts";

/** Bytes of a key; its name is their lowercase hex, twice as long. */
export const KEY_BYTES = 32;
/** Longer texts are refused: no model reads so much, and each is held in memory. */
export const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/** One field as a netstring: length in UTF-8 bytes, colon, content. No two lists of fields
 * give the same bytes. Source: D. J. Bernstein, "Netstrings" (1997). */
function netstring(field: string): string {
  return `${Buffer.byteLength(field)}:${field}`;
}

const names = new WeakMap<ModelIdentity, string>();

/** A name for everything of an identity that is part of a key; equal for equal ones. */
export function roomName(identity: ModelIdentity): string {
  let name = names.get(identity);
  if (name === undefined) names.set(identity, name = new VectorKeys(identity).of(""));
  return name;
}

/** A key, as bytes and as the eight words that tables are searched by. */
export interface KeyViews {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
}

/** A key of its own. */
export function newKey(): KeyViews & { readonly bytes: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(KEY_BYTES);
  return { bytes, words: new Uint32Array(bytes.buffer) };
}

/** From so many keys on the own hash pays: making it ready takes as long as these. */
const MANY_KEYS = 64;
const scratch = newKey();

/** Makes the keys of one model. */
export class VectorKeys {
  readonly #prefix: string;
  #made = 0;
  #short: PrefixHash | undefined;
  #digest: KeyViews = scratch;

  /** @throws {InputError} when the identity is not usable as a key */
  constructor(readonly identity: ModelIdentity) {
    const { digest, dimensions } = identity;
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw new InputError(
        "bad_model",
        `Cannot use the model ${identity.name}: its digest is not a SHA-256 in hex`,
      );
    }
    if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw new InputError(
        "bad_model",
        `Cannot use the model ${identity.name}: ${dimensions} dimensions, not 1 to ${MAX_DIMENSIONS}`,
      );
    }
    this.#prefix = [
      digest,
      String(dimensions),
      identity.pooling,
      identity.normalisation,
      identity.prefix,
      String(identity.maxTokens),
    ].map(netstring).join("");
  }

  /**
   * The key of a text, 64 lowercase hex digits.
   *
   * @param text well-formed (see {@link wellFormed})
   */
  of(text: string): string {
    if (this.#made < MANY_KEYS) {
      this.#made++;
      return this.#bySystem(text);
    }
    return this.views(text).bytes.toHex();
  }

  /**
   * The key of a text, without making a string of it; good until the next key of any
   * model.
   *
   * @param text well-formed (see {@link wellFormed})
   */
  views(text: string): KeyViews {
    if (text.length <= SHORT_TEXT_CHARS && ++this.#made > MANY_KEYS) {
      const short = this.#short ??= this.#prepare();
      if (short.canHash) {
        short.digest(text);
        return this.#digest;
      }
    }
    scratch.bytes.setFromHex(this.#bySystem(text));
    return scratch;
  }

  #prepare(): PrefixHash {
    const short = new PrefixHash(this.#prefix);
    if (short.canHash) this.#digest = digestViews();
    return short;
  }

  #bySystem(text: string): string {
    return hash("sha256", this.#prefix + netstring(text), "hex");
  }
}

/**
 * The text as UTF-8 can carry it: lone surrogates become U+FFFD, so that the text that is
 * hashed is the text that is embedded.
 *
 * @throws {InputError} when it is longer than {@link MAX_TEXT_BYTES}
 */
export function wellFormed(text: string): string {
  if (text.length > MAX_TEXT_BYTES / 4 && Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new InputError(
      "text_too_long",
      `Cannot embed a text of ${
        Buffer.byteLength(text)
      } bytes: the limit is ${MAX_TEXT_BYTES}`,
      { hint: "split it into smaller texts" },
    );
  }
  return text.isWellFormed() ? text : text.toWellFormed();
}
