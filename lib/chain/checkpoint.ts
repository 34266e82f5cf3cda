/**
 * Checkpoints: "this chain has SIZE blocks and this root", signed by the host.
 *
 * A checkpoint kept elsewhere is what makes truncation and rewriting show: the host can
 * sign any history, but not one in which both the old checkpoint and the new are true.
 *
 * Source: C2SP tlog-checkpoint and signed-note, https://c2sp.org/tlog-checkpoint.
 */
import { InputError } from "../base/errors.ts";
import {
  decodeBase64,
  type HostKey,
  type VerifierKey,
  verifySignature,
} from "./host_key.ts";
import { HASH_BYTES } from "./merkle.ts";

/** Longest note that is read. */
export const NOTE_LIMIT_BYTES = 16 * 1024;
const SIGNATURE_BYTES = 64, KEY_ID_BYTES = 4;
const encoder = new TextEncoder();

/** What a checkpoint claims. */
export interface Checkpoint {
  /** The log's name: the name of the key that signs it. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** A note as read: nobody's signature is checked yet. */
export interface Note {
  readonly checkpoint: Checkpoint;
  /** The signed bytes. */
  readonly body: Uint8Array;
  readonly signatures: readonly {
    readonly name: string;
    readonly id: Uint8Array;
    readonly signature: Uint8Array;
  }[];
}

/** Writes and signs a checkpoint. */
export function signCheckpoint(size: number, root: Uint8Array, key: HostKey): string {
  const body = `${key.name}\n${size}\n${root.toBase64()}\n`;
  const signature = new Uint8Array([...key.id, ...key.sign(encoder.encode(body))]);
  return `${body}\n— ${key.name} ${signature.toBase64()}\n`;
}

/**
 * Takes a note apart.
 * @throws {InputError} `bad_checkpoint`
 */
export function parseNote(text: string): Note {
  if (encoder.encode(text).length > NOTE_LIMIT_BYTES) throw bad("it is too long");
  const gap = text.indexOf("\n\n");
  if (gap === -1) throw bad("it has no signature");
  const body = text.slice(0, gap + 1);
  const [origin, size, root] = body.split("\n");
  const rootBytes = decodeBase64(root ?? "");
  if (!origin || !/^(0|[1-9]\d{0,14})$/.test(size ?? "") || !rootBytes) {
    throw bad("it does not read origin, size, root");
  }
  if (rootBytes.length !== HASH_BYTES) throw bad("its root is no SHA-256");
  return {
    checkpoint: { origin, size: Number(size), root: rootBytes },
    body: encoder.encode(body),
    signatures: text.slice(gap + 2).split("\n").filter(Boolean).map(parseSignature),
  };
}

function parseSignature(line: string): Note["signatures"][number] {
  const match = /^— (\S+) (\S+)$/.exec(line);
  const bytes = decodeBase64(match?.[2] ?? "");
  if (!match || !bytes || bytes.length <= KEY_ID_BYTES) {
    throw bad("a signature line does not read — name signature");
  }
  return {
    name: match[1]!,
    id: bytes.slice(0, KEY_ID_BYTES),
    signature: bytes.slice(KEY_ID_BYTES),
  };
}

/**
 * The checkpoint of a note that `key` signed.
 * @throws {InputError} `bad_checkpoint`: malformed, or not signed by this key
 */
export function openCheckpoint(text: string, key: VerifierKey): Checkpoint {
  const note = parseNote(text);
  const mine = note.signatures.filter(({ name, id }) =>
    name === key.name && id.toHex() === key.id.toHex()
  );
  if (mine.length === 0) throw bad(`${key.name} has not signed it`);
  const good = mine.some(({ signature }) =>
    signature.length === SIGNATURE_BYTES && verifySignature(key, note.body, signature)
  );
  if (!good) throw bad(`the signature of ${key.name} does not match`);
  if (note.checkpoint.origin !== key.name) throw bad("it is of another chain");
  return note.checkpoint;
}

function bad(why: string): InputError {
  return new InputError("bad_checkpoint", `Cannot trust the checkpoint: ${why}`, {
    hint: "give a file that op-dbus chain checkpoint printed on this host",
  });
}
