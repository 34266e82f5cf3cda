/**
 * Which snapshots a receiving side is known to hold whole. A mark is set before one is
 * sent and taken away when the other side is confirmed to hold it: one that is marked was
 * interrupted, however whole it looks there: stock `btrfs receive` marks it as received
 * without a sync, so that a crash there may keep the mark and lose content.
 */
import { DifferenceError } from "../base/errors.ts";
import type { Found } from "./found.ts";
import { addHold, removeHolds } from "./holds.ts";
import { isSame, type Remote, type Replica } from "./replica.ts";
import type { Target } from "./target.ts";

const sendingTag = (replica: Replica) => `sending to ${replica.label}`;
const holdTag = (replica: Replica) => `replica ${replica.label}`;

/** Marks a snapshot as being sent; it is held meanwhile. */
export function markSending({ folder }: Target, name: string, replica: Replica): void {
  addHold(folder, name, sendingTag(replica), Date.now());
}

/** The other side holds it whole: it is held as the common one, the former no longer. */
export function confirm(
  { folder }: Target,
  name: string,
  replica: Replica,
  found: readonly Found[],
): void {
  addHold(folder, name, holdTag(replica), Date.now());
  for (const one of found) {
    if (one.name !== name) removeHolds(folder, one.name, holdTag(replica));
  }
  removeHolds(folder, name, sendingTag(replica));
}

/** Tells whether a side holds the same; false where it cannot, or nobody wants to know. */
export type Comparison = (replica: Replica) => Promise<boolean>;

/**
 * Compares tree digests; the one of what is here is computed at most once.
 *
 * @param wanted false: nobody wants to know
 * @returns what throws {DifferenceError} where the contents differ; the other is removed then
 */
export function comparison(
  { name, path }: Pick<Found, "name" | "path">,
  wanted: boolean,
  signal?: AbortSignal,
): Comparison {
  if (!wanted) return () => Promise.resolve(false);
  let ours: string | null = null;
  return async (replica) => {
    if (ours === null) {
      const { digestOfFolder } = await import("../stream/disk_tree.ts");
      ours = digestOfFolder(path, { ...(signal && { signal }) });
    }
    const theirs = await replica.digest(name, signal);
    if (theirs === null) return false;
    if (theirs === ours) return true;
    await replica.remove([name]);
    throw new DifferenceError(
      "digest_mismatch",
      `${name} arrived with other content at ${replica.label}; it was removed there`,
      { hint: "check the disk there (btrfs scrub), then send again" },
    );
  };
}

/**
 * Settles what an interrupted run sent: what is there and equal is confirmed, what is not
 * equal or cannot be compared is thrown away there, to be sent again.
 *
 * @param found ours, with their holds
 * @param remotes what lies there
 * @param wanted compare contents; else what is marked is thrown away
 * @returns what lies there and can be built upon
 */
export async function settleInterrupted(
  target: Target,
  replica: Replica,
  found: readonly Found[],
  remotes: readonly Remote[],
  wanted: boolean,
  signal?: AbortSignal,
): Promise<Remote[]> {
  const trusted = new Set(remotes), tag = sendingTag(replica);
  for (const one of found.filter(({ holds }) => holds.some((hold) => hold.tag === tag))) {
    // Received, and by the name it was sent under: nothing else is ever removed there.
    const there = remotes.find((remote) =>
      remote.name === one.name && remote.receivedUuid !== null &&
      isSame(one.info, remote)
    );
    if (there && await isWhole(one, replica, wanted, signal)) {
      confirm(target, one.name, replica, found);
    } else {
      if (there) trusted.delete(there);
      removeHolds(target.folder, one.name, tag);
    }
  }
  return [...trusted];
}

async function isWhole(
  one: Found,
  replica: Replica,
  wanted: boolean,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    if (await comparison(one, wanted, signal)(replica)) return true;
    await replica.remove([one.name], signal);
  } catch (error) {
    if (!(error instanceof DifferenceError)) throw error;
  }
  return false;
}
