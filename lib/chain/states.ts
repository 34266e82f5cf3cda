/**
 * The desired states of the past: `@state/current.json` (a state file that `apply`
 * takes), `@state/plugins/<name>.json`, and every state that a block refers to under
 * `@state/objects/<sha256>.json`.
 */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, fsyncFolder, unlinkAt } from "../../ffi/files.ts";
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { writeAtomically, writeDurably } from "../base/durable.ts";
import { InputError, OpError } from "../base/errors.ts";
import { makeFolder } from "../base/folder.ts";
import type { Layout } from "../base/layout.ts";
import { canonicalJson } from "./canonical.ts";
import { sha256 } from "./merkle.ts";
import type { ChainReader } from "./reader.ts";

/** Longest state that is kept. */
const STATE_LIMIT_BYTES = 16 * 1024 * 1024;
/** A state may hold what is for the administrator only. */
const MODE = 0o600;
const PLUGIN_NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const encoder = new TextEncoder();

/** A whole desired state, as in a state file. */
export interface DesiredState {
  readonly version: 1;
  readonly plugins: Readonly<Record<string, unknown>>;
}

/** The folders under `@state`. */
class StateFiles {
  constructor(readonly folder: string) {}
  get current(): string {
    return `${this.folder}/current.json`;
  }
  get plugins(): string {
    return `${this.folder}/plugins`;
  }
  object(hash: string): string {
    return `${this.folder}/objects/${hash}.json`;
  }
  ensureFolders(): void {
    for (const path of [this.folder, this.plugins, `${this.folder}/objects`]) {
      makeFolder(path);
    }
  }
}

/**
 * Keeps a state so that a block may refer to it. Before the block is appended: a block
 * never names a state that is not on disk.
 *
 * @returns the state's hash, hex, for {@link BlockContent.state}
 * @throws {InputError} no state document, a plugin name that is none, too long
 */
export function keepState(layout: Layout, state: DesiredState): string {
  const files = new StateFiles(layout.state);
  const bytes = encodeState(state);
  const hash = sha256(bytes).toHex();
  files.ensureFolders();
  if (!readIfThere(files.object(hash))) writeDurably(files.object(hash), bytes, MODE);
  return hash;
}

/**
 * Makes a kept state the current one: `current.json` and one file per plugin. After its
 * block is appended. Under the lock of the state: the last to append is the last here.
 */
export function publishState(layout: Layout, state: DesiredState): void {
  const files = new StateFiles(layout.state);
  const bytes = encodeState(state);
  files.ensureFolders();
  for (const [name, value] of Object.entries(state.plugins)) {
    const text = canonicalJson({ version: 1, plugins: { [name]: value } }) + "\n";
    if (readIfThere(`${files.plugins}/${name}.json`) === text) continue;
    writeAtomically(`${files.plugins}/${name}.json`, encoder.encode(text), MODE);
  }
  for (const entry of listFolder(files.plugins)) {
    const name = /^(.+)\.json$/.exec(new TextDecoder().decode(entry.name))?.[1];
    if (name && PLUGIN_NAME.test(name) && !Object.hasOwn(state.plugins, name)) {
      unlinkAt(AT_FDCWD, `${files.plugins}/${name}.json`);
    }
  }
  fsyncFolder(files.plugins);
  writeDurably(files.current, bytes, MODE); // last: it says which state the others belong to
}

/** A state of the past. */
export interface PastState {
  /** The block that set it. */
  readonly number: number;
  readonly hash: string;
  readonly state: DesiredState;
}

/**
 * The desired state as of a block: what the last block up to it that names one set.
 * `rollback --to-block N` applies it.
 *
 * @param number a block's number
 * @returns null when no block up to there set a state
 * @throws {OpError} `state_gone` when it is not on disk or damaged; as {@link ChainReader}
 */
export function stateAt(
  layout: Layout,
  reader: ChainReader,
  number: number,
): PastState | null {
  for (let at = number; at >= 0; at--) {
    const hash = reader.readRaw(at).header.state;
    if (hash !== undefined) return { number: at, hash, state: loadState(layout, hash) };
  }
  return null;
}

/** @throws {OpError} `state_gone` */
function loadState(layout: Layout, hash: string): DesiredState {
  const files = new StateFiles(layout.state);
  const text = /^[0-9a-f]{64}$/.test(hash) ? readIfThere(files.object(hash)) : null;
  if (text === null || sha256(encoder.encode(text)).toHex() !== hash) {
    const why = text === null ? "it is not on disk" : "it is damaged";
    throw new OpError("state_gone", `Cannot read the state ${hash}: ${why}`, {
      hint: "restore @state from a snapshot",
    });
  }
  return JSON.parse(text);
}

/** States that blocks name and that are gone or damaged: one line each. */
export function checkStates(layout: Layout, hashes: Iterable<string>): string[] {
  const faults: string[] = [];
  for (const hash of hashes) {
    try {
      loadState(layout, hash);
    } catch (error) {
      if (!(error instanceof OpError)) throw error;
      faults.push(error.message);
    }
  }
  return faults;
}

function encodeState(state: DesiredState): Uint8Array<ArrayBuffer> {
  const valid = state.version === 1 && typeof state.plugins === "object" &&
    state.plugins !== null &&
    Object.keys(state.plugins).every((n) => PLUGIN_NAME.test(n));
  if (!valid) {
    throw new InputError("bad_state", "Cannot keep the state: it is no state document", {
      hint: 'write it as {"version": 1, "plugins": {"<name>": {…}}}',
    });
  }
  const bytes = encoder.encode(canonicalJson(state) + "\n");
  if (bytes.length > STATE_LIMIT_BYTES) {
    throw new InputError(
      "bad_state",
      `Cannot keep the state: it is over ${STATE_LIMIT_BYTES} bytes`,
    );
  }
  return bytes;
}

function readIfThere(path: string): string | null {
  try {
    return readTextFile(path, STATE_LIMIT_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}
