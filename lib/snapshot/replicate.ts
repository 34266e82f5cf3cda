/**
 * replicate: snapshot, send to every receiving side, prune on all of them. What one side
 * misses, by failing or being away, the next run brings; the newest snapshot that both
 * sides have is held until a newer one is there.
 */
import { asOpError, type OpError } from "../base/errors.ts";
import { acquireLock } from "../base/lock.ts";
import { sendChunks } from "../stream/send.ts";
import {
  type Comparison,
  comparison,
  confirm,
  markSending,
  settleInterrupted,
} from "./confirm.ts";
import { type Created, createUnlocked, lockTarget } from "./create.ts";
import { decide } from "./decide.ts";
import { estimateSend } from "./diff.ts";
import { fanOut } from "./fan_out.ts";
import { listFound } from "./found.ts";
import { paced } from "./pace.ts";
import type { Policy } from "./policy.ts";
import {
  newestCommon,
  type Remote,
  remoteCandidate,
  type Replica,
  type Step,
  stepsTo,
  streamUuid,
} from "./replica.ts";
import { clockOf, pruneUnlocked, type Rotated, type RotateOptions } from "./rotate.ts";
import { discardStale } from "./stale.ts";
import type { Target } from "./target.ts";

/** How to replicate. */
export interface ReplicateOptions extends RotateOptions {
  /** Takes a snapshot first. Default true. */
  readonly create?: boolean;
  /** Sends up to this snapshot only; default the newest. */
  readonly only?: string;
  /** Sends in full although there is a common one. */
  readonly full?: boolean;
  /** Prunes here; absent: not. */
  readonly policy?: Policy;
  /** Prunes there; absent: not. */
  readonly remotePolicy?: Policy;
  /** Compares the digests of both contents. Default true. */
  readonly verify?: boolean;
  /** Bytes per second; absent: as fast as it goes. */
  readonly limit?: number;
  /** Bytes sent of one snapshot, and about how many there will be. */
  readonly progress?: (name: string, bytes: number, estimate: number) => void;
}

/** One snapshot that was sent. */
export interface Sent {
  readonly name: string;
  /** The one that it was sent as a difference to; null for a full stream. */
  readonly parent: string | null;
  /** Bytes of stream, before compression on the wire. */
  readonly bytes: number;
  /** The contents were compared; false where the other side cannot tell. */
  readonly verified: boolean;
}

/** What happened to one receiving side. */
export interface Outcome {
  readonly replica: string;
  readonly sent: readonly Sent[];
  readonly deleted: readonly string[];
  /** Why it did not come to its end. */
  readonly error: OpError | null;
}

/** What a run did. */
export interface Replicated {
  readonly target: string;
  readonly created: Created | null;
  readonly outcomes: readonly Outcome[];
  readonly pruned: Rotated | null;
  readonly notes: readonly string[];
}

/** One receiving side in the course of a run. */
interface Course {
  readonly replica: Replica;
  steps: Step[];
  readonly sent: Sent[];
  deleted: string[];
  error: OpError | null;
}

/**
 * Brings what is missing to every replica. A replica that fails does not stop the others.
 *
 * @throws {LockedError} while another run replicates the target
 */
export async function replicate(
  target: Target,
  replicas: readonly Replica[],
  options: ReplicateOptions = {},
): Promise<Replicated> {
  const { created, notes } = await takeSnapshot(target, options);
  using _run = await acquireLock(`${target.lock}.replicate`, options);
  const courses = await plan(target, replicas, options);
  for (const group of grouped(courses)) {
    for (const step of group[0]!.steps) {
      options.signal?.throwIfAborted();
      const able = group.filter(({ error }) => error === null);
      try {
        await ship(target, step, able, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        const why = asOpError(error, `Cannot send ${step.snapshot.name}`);
        for (const course of able) course.error ??= why;
      }
    }
  }
  const pruned = await pruneHere(target, options);
  if (options.remotePolicy) {
    for (const course of courses) {
      notes.push(...await pruneThere(target, course, options));
    }
  }
  return {
    target: target.name,
    created,
    outcomes: courses.map(({ replica, sent, deleted, error }) => ({
      replica: replica.label,
      sent,
      deleted,
      error,
    })),
    pruned,
    notes: [...notes, ...pruned?.notes ?? []],
  };
}

async function takeSnapshot(target: Target, options: ReplicateOptions) {
  using _lock = await lockTarget(target, options);
  const notes = discardStale(target);
  if (options.create === false) return { created: null, notes };
  const created = await createUnlocked(target, options);
  return { created, notes: [...notes, ...created.notes] };
}

async function pruneHere(
  target: Target,
  options: ReplicateOptions,
): Promise<Rotated | null> {
  if (!options.policy) return null;
  using _lock = await lockTarget(target, options);
  return await pruneUnlocked(target, options.policy, options);
}

/** Asks every side what it has; what an interrupted run left there is settled first. */
async function plan(
  target: Target,
  replicas: readonly Replica[],
  options: ReplicateOptions,
): Promise<Course[]> {
  const found = listFound(target), only = options.only ?? null;
  return await Promise.all(replicas.map(async (replica): Promise<Course> => {
    const course: Course = { replica, steps: [], sent: [], deleted: [], error: null };
    try {
      const { signal, verify = true } = options;
      const listed = await replica.list(signal);
      const remotes = await settleInterrupted(
        target,
        replica,
        found,
        listed,
        verify,
        signal,
      );
      course.steps = stepsTo(found, options.full ? [] : remotes, only);
    } catch (error) {
      course.error = asOpError(error);
    }
    return course;
  }));
}

/** Sides that lack the same: they are served in one pass. */
function grouped(courses: readonly Course[]): Course[][] {
  const key = ({ steps }: Course) =>
    steps.map((s) => `${s.parent?.name ?? ""}>${s.snapshot.name}`).join("\n");
  const able = courses.filter(({ error }) => error === null);
  return Object.values(Object.groupBy(able, key)) as Course[][];
}

async function ship(
  target: Target,
  { snapshot, parent }: Step,
  courses: readonly Course[],
  options: ReplicateOptions,
): Promise<void> {
  if (courses.length === 0) return;
  for (const { replica } of courses) {
    markSending(target, snapshot.name, replica);
  }
  const aborting = options.signal && { signal: options.signal };
  const estimate = options.progress
    ? await estimateSend(snapshot.path, parent?.path ?? null, options.signal)
    : 0;
  let bytes = 0;
  const chunks = paced(
    sendChunks(snapshot.path, {
      ...(parent && { parent: parent.path }),
      compressed: courses.every((c) => c.replica.takesCompressed) ? "auto" : "never",
      ...aborting,
    }),
    {
      ...(options.limit !== undefined && { limit: options.limit }),
      ...aborting,
      progress(now) {
        bytes = now;
        options.progress?.(snapshot.name, now, estimate);
      },
    },
  );
  const what = { name: snapshot.name, uuid: streamUuid(snapshot.info), ...aborting };
  const results = await fanOut(
    chunks,
    courses.map(({ replica }) => (lane) => replica.receive(lane, what)),
  );
  options.signal?.throwIfAborted();
  const equals = comparison(snapshot, options.verify ?? true, options.signal);
  for (const [i, result] of results.entries()) {
    await settle(target, courses[i]!, { snapshot, parent, bytes }, result, equals);
  }
}

/** Takes note of how one side did: confirmed and held, or failed. */
async function settle(
  target: Target,
  course: Course,
  { snapshot, parent, bytes }: Step & { readonly bytes: number },
  result: PromiseSettledResult<Remote>,
  equals: Comparison,
): Promise<void> {
  const { replica } = course, { name } = snapshot;
  try {
    if (result.status === "rejected") throw result.reason;
    const verified = await equals(replica);
    course.sent.push({ name, parent: parent?.name ?? null, bytes, verified });
    confirm(target, name, replica, listFound(target));
  } catch (error) {
    // It stays marked: the next run looks whether anything of it lies there.
    course.error = asOpError(error, `Cannot send ${name} to ${replica.label}`);
  }
}

/** @returns what is worth knowing, one line each */
async function pruneThere(
  target: Target,
  course: Course,
  options: ReplicateOptions,
): Promise<string[]> {
  if (course.error !== null || !options.remotePolicy) return [];
  const { replica } = course, found = listFound(target);
  const nowMs = options.nowMs ?? Date.now(); // sending may have taken hours
  // It is one clock that both sides are pruned by; only here is it known what to think of it.
  const clock = clockOf(found, nowMs);
  if (clock !== null) return [`nothing is deleted at ${replica.label}: ${clock}`];
  try {
    const remotes = await replica.list(options.signal);
    const common = newestCommon(found, remotes);
    const candidates = remotes.map((remote) => {
      const isCommon = common !== null && remote.receivedUuid === streamUuid(common.info);
      return remoteCandidate(remote, target.prefix, isCommon ? ["newest common"] : []);
    });
    const names = decide(candidates, options.remotePolicy, nowMs)
      .filter(({ action }) => action === "delete").map(({ name }) => name);
    await replica.remove(names, options.signal);
    course.deleted = names;
  } catch (error) {
    course.error = asOpError(error, `Cannot prune ${replica.label}`);
  }
  return [];
}
