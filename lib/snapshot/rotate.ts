/**
 * rotate: create, then prune, in one run under the target's lock. Deleting is the last
 * thing that happens, oldest first, one at a time: whenever it stops, what the policy keeps
 * is there.
 */
import { openFolder, syncFileSystem } from "../../ffi/btrfs.ts";
import { subvolumeLingers } from "../../ffi/btrfs_search.ts";
import { isSysError } from "../../ffi/errno.ts";
import { close } from "../../ffi/files.ts";
import { statfs } from "../../ffi/stat.ts";
import { asOpError, InterruptedError, OpError } from "../base/errors.ts";
import type { LockOptions } from "../base/lock.ts";
import type { Recorder } from "../base/recorder.ts";
import { nearestExisting } from "../base/root.ts";
import { formatSize } from "../base/units.ts";
import { clockProblem } from "./clock.ts";
import {
  type Created,
  type CreateOptions,
  createUnlocked,
  lockTarget,
} from "./create.ts";
import { type Candidate, decide, type Decision, spareable } from "./decide.ts";
import { type Found, listFound } from "./found.ts";
import { LateRecorder } from "./late_recorder.ts";
import { namesFor } from "./name.ts";
import type { Policy } from "./policy.ts";
import { deleteFound } from "./remove.ts";
import { discardStale } from "./stale.ts";
import type { Target } from "./target.ts";

/** How to rotate or prune. */
export interface RotateOptions extends CreateOptions, LockOptions {
  /** Changes nothing; the decisions are as they would be. */
  readonly dryRun?: boolean;
  /** Deletes nothing but these, for that is what somebody agreed to. */
  readonly agreed?: ReadonlySet<string>;
  /** Takes note of what was deleted. */
  readonly recorder?: Recorder;
}

/** What a rotation did, or would do. */
export interface Rotated {
  readonly target: string;
  /** The new snapshot; null for prune and on a dry run. */
  readonly created: Created | null;
  /** Every snapshot with what is done to it and why; oldest first. */
  readonly decisions: readonly Decision[];
  /** Names that were deleted (would be, on a dry run). */
  readonly deleted: readonly string[];
  /** On a dry run: what would go beyond them while space is short, oldest first. */
  readonly whileShort?: readonly string[];
  /** What is worth knowing, one line each. */
  readonly notes: readonly string[];
}

/**
 * Makes a snapshot and deletes what the policy does not keep.
 *
 * @throws {LockedError} exit 5 when another run holds the lock
 * @throws {OpError} when the snapshot cannot be made; then nothing is deleted
 */
export async function rotate(
  target: Target,
  policy: Policy,
  options: RotateOptions = {},
): Promise<Rotated> {
  const now = () => options.nowMs ?? Date.now();
  if (options.dryRun) return dryRun(target, policy, now(), true);
  using _lock = await lockTarget(target, options);
  const nowMs = now(); // not before: another run may have made a newer one meanwhile
  const notes = discardStale(target);
  const created = await createUnlocked(target, { ...options, nowMs });
  const pruned = await pruneUnlocked(target, policy, { ...options, nowMs });
  return {
    ...pruned,
    created,
    notes: [...notes, ...created.notes, ...pruned.notes],
  };
}

/** Deletes what the policy does not keep. See {@link rotate}. */
export async function prune(
  target: Target,
  policy: Policy,
  options: RotateOptions = {},
): Promise<Rotated> {
  const now = () => options.nowMs ?? Date.now();
  if (options.dryRun) return dryRun(target, policy, now(), false);
  using _lock = await lockTarget(target, options);
  const notes = discardStale(target);
  const pruned = await pruneUnlocked(target, policy, options);
  return { ...pruned, notes: [...notes, ...pruned.notes] };
}

function dryRun(target: Target, policy: Policy, nowMs: number, create: boolean): Rotated {
  const found = listFound(target), candidates = found.map(asCandidate);
  if (create) {
    const [name] = namesFor(target.prefix, nowMs, found.map(({ name }) => name));
    candidates.push({ name: name!, timeMs: nowMs, holds: [], problem: null });
  }
  const decisions = decide(candidates, policy, nowMs, clockOf(found, nowMs));
  const deleted = decisions.filter(({ action }) => action === "delete")
    .map(({ name }) => name);
  const notes = warnings(decisions), short = spaceShortage(target.folder, policy);
  const whileShort = short ? spareable(decisions, policy).map(({ name }) => name) : [];
  if (short) {
    const more = whileShort.length > 0 ? whileShort.join(", ") : "nothing";
    notes.push(
      `only ${formatSize(short)} free, under free_space_min: as long as that is so, ` +
        `${more} would go too`,
    );
  }
  return {
    target: target.name,
    created: null,
    decisions,
    deleted,
    whileShort,
    notes,
  };
}

/** A found snapshot as the rules see it. */
export function asCandidate({ name, timeMs, holds, problem }: Found): Candidate {
  return { name, timeMs, holds: holds.map(({ tag }) => tag), problem };
}

/** Why the clock is not trusted, by what was found; null when it is. */
export function clockOf(found: readonly Found[], nowMs: number): string | null {
  const ours = found.filter(({ problem }) => problem === null);
  return clockProblem(ours.map(({ info }) => info.otimeMs), nowMs);
}

/** {@link prune} for who holds the lock already. */
export async function pruneUnlocked(
  target: Target,
  policy: Policy,
  options: RotateOptions = {},
): Promise<Rotated> {
  const found = listFound(target), nowMs = options.nowMs ?? Date.now();
  const decisions = decide(found.map(asCandidate), policy, nowMs, clockOf(found, nowMs));
  const byName = new Map(found.map((one) => [one.name, one]));
  const deleted: string[] = [], notes = warnings(decisions), busy = new Set<string>();
  const recorder = new LateRecorder(options.recorder);
  const mayGo = (name: string) => options.agreed?.has(name) ?? true;
  const remove = async (name: string, why: string) => {
    if (options.signal?.aborted) {
      throw new InterruptedError(
        "interrupted",
        `Stopped pruning ${target.name} after ${deleted.length} were deleted`,
      );
    }
    const one = byName.get(name)!;
    if (!deleteUnlessInUse(target.folder, one)) {
      busy.add(name);
      notes.push(`${name} is kept for now: ${IN_USE.detail}`);
      return;
    }
    deleted.push(name);
    await recorder.record({
      category: "snapshot",
      action: "prune",
      subject: name,
      data: { target: target.name, uuid: one.info.uuid, why },
    });
  };
  for (const { name, action, reasons } of decisions) {
    if (action === "delete" && mayGo(name)) await remove(name, reasons[0]!.detail);
  }
  const short = spaceShortage(target.folder, policy);
  if (short) {
    for (const { name } of spareable(decisions, policy)) {
      if (!spaceShortage(target.folder, policy)) break;
      if (!mayGo(name)) continue;
      const why = `only ${formatSize(short)} free, under free_space_min`;
      await remove(name, why);
      if (busy.has(name)) continue;
      await waitForSpace(target.folder, byName.get(name)!.info.id);
      notes.push(`${name} deleted although the policy keeps it: ${why}`);
    }
    const still = spaceShortage(target.folder, policy);
    if (still) notes.push(stillShort(still, policy));
  }
  if (recorder.due > 0) {
    await waitForSpace(target.folder, byName.get(deleted.at(-1)!)!.info.id);
    await recorder.flush();
  }
  return {
    target: target.name,
    created: null,
    decisions: decisions.map((one) =>
      busy.has(one.name) ? { ...one, action: "keep", reasons: [IN_USE] } : one
    ),
    deleted,
    notes,
  };
}

const IN_USE = { rule: "in_use", detail: "it is being sent" } as const;

/** False where it has to stay for now: a long send must not make every rotation fail. */
function deleteUnlessInUse(folder: string, found: Found): boolean {
  try {
    deleteFound(folder, found);
    return true;
  } catch (error) {
    if (error instanceof OpError && error.code === IN_USE.rule) return false;
    throw error;
  }
}

function stillShort(freeBytes: number, policy: Policy): string {
  return `only ${formatSize(freeBytes)} free, under free_space_min ` +
    `${formatSize(policy.free_space_min)}; nothing more may be deleted`;
}

/** What a person should hear about although it changes nothing. */
function warnings(decisions: readonly Decision[]): string[] {
  const notes: string[] = [];
  const clock = decisions.flatMap(({ reasons }) => reasons)
    .find(({ rule }) => rule === "clock");
  if (clock) notes.push(`nothing is deleted: ${clock.detail}`);
  for (const { name, reasons } of decisions) {
    const odd = reasons.find(({ rule }) => rule === "not_ours" || rule === "future");
    if (odd) notes.push(`${name} is kept: ${odd.detail}`);
  }
  return notes;
}

/** Free bytes where they are below the policy's minimum; 0 where there are enough. */
function spaceShortage(folder: string, policy: Policy): number {
  if (policy.free_space_min === 0) return 0;
  const { availableBytes } = statfs(nearestExisting(folder));
  return availableBytes < policy.free_space_min ? Math.max(1, availableBytes) : 0;
}

/** The kernel frees a deleted subvolume in the background; waiting longer is no use. */
const SPACE_WAIT_MS = 15_000;
const SPACE_POLL_MS = 50;

async function waitForSpace(folder: string, id: bigint): Promise<void> {
  const deadline = Date.now() + SPACE_WAIT_MS, fd = openFolder(folder);
  try {
    do {
      syncFileSystem(fd, folder); // wakes the cleaner, and commits what it did
      if (!subvolumeLingers(fd, id)) return syncFileSystem(fd, folder);
      await new Promise((resolve) => setTimeout(resolve, SPACE_POLL_MS));
    } while (Date.now() < deadline);
  } catch (error) {
    if (!isSysError(error, "EPERM")) throw asOpError(error, "Cannot wait for space");
  } finally {
    close(fd);
  }
}
