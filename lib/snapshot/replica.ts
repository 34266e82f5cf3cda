/** Where snapshots are sent: what a receiving side can do, whatever it is. */
import type { SubvolumeInfo } from "../../ffi/btrfs.ts";
import { InputError, type OpError } from "../base/errors.ts";
import type { Found } from "./found.ts";
import { snapshotTime } from "./name.ts";

/** One snapshot on the receiving side. */
export interface Remote {
  readonly name: string;
  readonly uuid: string;
  /** The sender's UUID that it was received under; null when it was not received. */
  readonly receivedUuid: string | null;
  readonly readOnly: boolean;
  /** It was received whole once, whatever became of it; only plain btrfs tells. */
  readonly wasReceived?: boolean;
}

/**
 * False for what a receive is still making, or was killed while making: marked as received
 * perhaps, but gone with the next receive.
 */
export function isVisible(name: string): boolean {
  return !name.startsWith(".");
}

/** What is being sent. */
export interface Shipment {
  readonly name: string;
  /** The UUID that the stream carries. */
  readonly uuid: string;
  readonly signal?: AbortSignal;
}

/** A receiving side. */
export interface Replica {
  /** For messages and holds: `/backup`, `ssh://host/backup`. */
  readonly label: string;
  /** Whether it takes zstd and protocol 2. */
  readonly takesCompressed: boolean;
  list(signal?: AbortSignal): Promise<Remote[]>;
  /**
   * Takes a stream; what an interrupted one left is thrown away first.
   *
   * @returns what lies there now, read-only and marked as received
   */
  receive(chunks: AsyncIterable<Uint8Array>, what: Shipment): Promise<Remote>;
  /** Digest of a snapshot's content; null where the other side cannot tell. */
  digest(name: string, signal?: AbortSignal): Promise<string | null>;
  remove(names: readonly string[], signal?: AbortSignal): Promise<void>;
}

/** A side that could not even be opened: it fails by itself, and stops no other. */
export function awayReplica(label: string, error: OpError): Replica {
  const fail = () => Promise.reject(error);
  const takesCompressed = true;
  return {
    label,
    takesCompressed,
    list: fail,
    receive: fail,
    digest: fail,
    remove: fail,
  };
}

/** The UUID under which a snapshot is known to others: its sender's where it was received. */
export function streamUuid(info: SubvolumeInfo): string {
  return info.receivedUuid ?? info.uuid;
}

/** True when both have the same content: one was sent from the other. */
export function isSame(local: SubvolumeInfo, remote: Remote): boolean {
  if (!remote.readOnly) return false;
  const uuid = streamUuid(local);
  return remote.receivedUuid === uuid || remote.uuid === uuid;
}

/** The newest of our snapshots that the other side has too; null when there is none. */
export function newestCommon(
  found: readonly Found[],
  remotes: readonly Remote[],
): Found | null {
  return found.findLast(({ info, problem }) =>
    problem === null && remotes.some((remote) => isSame(info, remote))
  ) ?? null;
}

/** What is to be sent, in order: each a difference to the one before. */
export interface Step {
  readonly snapshot: Found;
  readonly parent: Found | null;
}

/**
 * What the other side lacks: everything newer than the newest common snapshot, or where
 * there is none the newest in full.
 *
 * @param only the name of the last one to send; default the newest
 * @throws {InputError} `not_ours` when that one is not recognised
 */
export function stepsTo(
  found: readonly Found[],
  remotes: readonly Remote[],
  only: string | null = null,
): Step[] {
  const ours = found.filter(({ problem, timeMs }) => problem === null && timeMs !== null);
  const last = only === null
    ? ours.length - 1
    : ours.findIndex((one) => one.name === only);
  if (only !== null && last < 0) throw notOurs(found, only);
  const within = ours.slice(0, last + 1), common = newestCommon(within, remotes);
  if (within.length === 0) return [];
  if (common === null) return [{ snapshot: within.at(-1)!, parent: null }];
  return within.slice(within.indexOf(common) + 1).map((snapshot, i, all) => ({
    snapshot,
    parent: all[i - 1] ?? common,
  }));
}

function notOurs(found: readonly Found[], name: string): InputError {
  const why = found.find((one) => one.name === name)?.problem ?? "it is not there";
  return new InputError("not_ours", `Cannot send ${name} to a replica: ${why}`, {
    hint: "a read-only one can be sent to a file: --to NAME.btrfs.zst",
  });
}

/** What an interrupted `btrfs receive` left under a name: writable, marked by nobody. */
export function isLeftover(remote: Remote, name: string): boolean {
  return remote.name === name && !remote.readOnly && remote.receivedUuid === null &&
    remote.wasReceived !== true;
}

/** A remote snapshot as retention sees it. */
export function remoteCandidate(
  remote: Remote,
  prefix: string,
  holds: readonly string[],
) {
  const timeMs = snapshotTime(prefix, remote.name);
  const problem = timeMs === null
    ? "its name is not one that op-dbus gives"
    : !remote.readOnly
    ? "it is writable, so its content may have changed"
    : remote.receivedUuid === null
    ? "it was not received"
    : null;
  return { name: remote.name, timeMs, holds, problem };
}
