/** Which keys are believed on this host, and which never again. */
import * as v from "valibot";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { parsePublicKey, type PublicKey, publicKeyLine } from "./minisign/format.ts";
import { readJsonFile, writeJsonFile } from "./json_file.ts";

/** A key's id as minisign shows it. */
export const KeyIdSchema = v.pipe(v.string(), v.regex(/^[0-9A-F]{16}$/));
/** A key's line, `RW...`. */
export const KeyLineSchema = v.pipe(v.string(), v.maxLength(100), v.check(isKeyLine));

const TrustFileSchema = v.object({
  format: v.literal(1),
  keys: v.array(v.object({
    id: KeyIdSchema,
    key: KeyLineSchema,
    added: v.string(),
    comment: v.optional(v.string()),
  })),
  revoked: v.array(v.object({
    id: KeyIdSchema,
    time: v.string(),
    reason: v.string(),
    /** The repository that said so; absent where the user did. */
    by: v.optional(v.string()),
  })),
});
type TrustFile = v.InferOutput<typeof TrustFileSchema>;

/** A key that the user trusts for whatever it signs. */
export type TrustedKey = TrustFile["keys"][number];
/** A key that is refused, whoever else trusts it. */
export type RevokedKey = TrustFile["revoked"][number];

/** The host's trusted and revoked keys; changes are durable when a method returns. */
export class TrustStore {
  readonly #path: string;
  #file: TrustFile;

  /** @throws {InputError} when the file is damaged */
  constructor(layout: Layout) {
    this.#path = `${layout.meta}/trust.json`;
    this.#file = readJsonFile(TrustFileSchema, this.#path) ??
      { format: 1, keys: [], revoked: [] };
  }

  get keys(): readonly TrustedKey[] {
    return this.#file.keys;
  }
  get revoked(): readonly RevokedKey[] {
    return this.#file.revoked;
  }

  /**
   * Trusts a key; one that is trusted already stays as it is.
   * @throws {InputError} `revoked_key` for a key that was revoked
   */
  trust(key: PublicKey, comment?: string): void {
    this.requireNotRevoked(key.id);
    const line = publicKeyLine(key);
    const other = this.#file.keys.find((known) => known.id === key.id);
    if (other && other.key !== line) {
      throw new InputError("bad_key", `Another key with the id ${key.id} is trusted`, {
        hint: "two keys never share an id by chance: check where this one comes from",
      });
    }
    if (other) return;
    const added = new Date().toISOString();
    const entry = { id: key.id, key: line, added, ...(comment && { comment }) };
    this.#write({ ...this.#file, keys: [...this.#file.keys, entry] });
  }

  /** Refuses a key from now on, in every repository. */
  revoke(id: string, reason: string, by?: string): void {
    if (this.isRevoked(id)) return;
    const entry = { id, time: new Date().toISOString(), reason, ...(by && { by }) };
    this.#write({
      ...this.#file,
      keys: this.#file.keys.filter((key) => key.id !== id),
      revoked: [...this.#file.revoked, entry],
    });
  }

  isRevoked(id: string): boolean {
    return this.#file.revoked.some((key) => key.id === id);
  }

  /** @throws {InputError} `revoked_key` */
  requireNotRevoked(id: string): void {
    const revoked = this.#file.revoked.find((key) => key.id === id);
    if (!revoked) return;
    throw new InputError("revoked_key", `Key ${id} was revoked: ${revoked.reason}`, {
      hint: "ask the author for a file signed with the new key",
    });
  }

  /** The trusted key of an id; undefined where it is unknown or revoked. */
  find(id: string): PublicKey | undefined {
    const known = this.#file.keys.find((key) => key.id === id);
    return known && !this.isRevoked(id) ? parsePublicKey(known.key) : undefined;
  }

  #write(file: TrustFile): void {
    writeJsonFile(this.#path, file);
    this.#file = file;
  }
}

function isKeyLine(text: string): boolean {
  try {
    return publicKeyLine(parsePublicKey(text)) === text;
  } catch {
    return false;
  }
}
