/** Audits a stream as a whole: for `plugin inspect`, and before a receive. */
import { HashWorker } from "../../ffi/hash_worker.ts";
import { type AuditFinding, Auditor } from "./audit.ts";
import type { AuditTotals } from "./audit_totals.ts";
import type { StreamIdentity } from "./identity.ts";
import type { BaseTree } from "./base_tree.ts";
import { digestOfTree } from "./digest.ts";
import { PLUGIN_LIMITS, type StreamLimits } from "./limits.ts";
import { PLUGIN_POLICY, type StreamPolicy } from "./policy.ts";
import { resolveContents } from "./resolve.ts";
import { parseSource } from "./run.ts";
import type { ByteSource } from "./source.ts";
import type { NodeKind, VirtualTree } from "./tree.ts";

/** How to audit. */
export interface AuditStreamOptions {
  /** Default {@link PLUGIN_POLICY}. */
  readonly policy?: StreamPolicy;
  /** Default {@link PLUGIN_LIMITS}. */
  readonly limits?: StreamLimits;
  /** Gives the tree that an incremental stream builds on, or null. */
  readonly base?: (identity: StreamIdentity) => BaseTree | null;
  /** Collect what the policy refuses (up to 100) instead of failing at the first. */
  readonly collect?: boolean;
  /** Compute the tree digest (default true). */
  readonly digest?: boolean;
  /** Keep the bytes of these files (keys), each up to `keepBytes`. */
  readonly keep?: readonly string[];
  /** Default 1 MiB. */
  readonly keepBytes?: number;
  /** Hashes on another core; default: one of its own for a long stream. */
  readonly worker?: HashWorker | null;
  readonly signal?: AbortSignal;
  readonly progress?: (streamBytes: number) => void;
}

/** What an audit found. */
export interface AuditResult {
  readonly identity: StreamIdentity;
  readonly version: number;
  /** Bytes of the decompressed stream. */
  readonly streamBytes: number;
  readonly commands: number;
  readonly tree: VirtualTree;
  readonly totals: Readonly<AuditTotals>;
  /** Tree digest; null when the source cannot be read again and it was needed. */
  readonly digest: string | null;
  /** What the policy refuses; empty means that it may be received. */
  readonly findings: readonly AuditFinding[];
  /** Contents of the files asked for that are there and small enough. */
  readonly kept: ReadonlyMap<string, Uint8Array>;
}

const KEEP_BYTES = 1024 * 1024;
/** A worker takes as long to start as this many bytes to hash. */
const WORKER_BYTES = 16 * 1024 * 1024;

/** A worker to hash a long stream's files with; null for a short or unknown one. */
export function workerFor(source: ByteSource): HashWorker | null {
  return (source.sizeBytes ?? 0) >= WORKER_BYTES ? new HashWorker() : null;
}

/**
 * Audits a stream. Needs no root, no btrfs, and writes nothing.
 *
 * @param source a file, bytes, a pipe; a zstd frame around it is taken off
 * @throws {StreamError} when it is malformed, past a limit, or (unless collecting) does
 *   what the policy does not allow
 */
export async function auditStream(
  source: ByteSource,
  options: AuditStreamOptions = {},
): Promise<AuditResult> {
  const { signal, progress, base } = options;
  const policy = options.policy ?? PLUGIN_POLICY;
  const limits = options.limits ?? PLUGIN_LIMITS;
  const findings: AuditFinding[] = [];
  const hashing = options.digest ?? true;
  using own = hashing && options.worker === undefined ? workerFor(source) : null;
  const worker = options.worker ?? own;
  const auditor = new Auditor({
    policy,
    limits,
    hashing,
    worker,
    ...(base && { base }),
    ...(options.collect && { findings }),
  });
  const parse = { limits, ...(signal && { signal }), ...(progress && { progress }) };
  const done = await parseSource(source, parse, (command) => auditor.handle(command));
  const { tree, totals, identity } = auditor;
  await worker?.settled();
  if (hashing && source.replayable) {
    await resolveContents(tree, source, auditor.base, limits, signal);
  }
  const digest = hashing && isResolved(tree) ? digestOfTree(tree) : null;
  const kept = new Map<string, Uint8Array>();
  if (options.keep && source.replayable) {
    const { readContents } = await import("./contents.ts");
    const most = options.keepBytes ?? KEEP_BYTES;
    const wanted = options.keep.flatMap((path) => {
      const content = tree.find(path)?.content;
      return content && content.size <= most ? [{ path, content }] : [];
    });
    for (
      const [path, bytes] of await readContents(wanted, source, auditor.base, limits)
    ) {
      kept.set(path, bytes);
    }
  }
  return { identity, ...done, tree, totals, digest, findings, kept };
}

function isResolved(tree: VirtualTree): boolean {
  for (const { node } of tree.walk()) {
    if (node.content && node.content.sha256() === null) return false;
  }
  return true;
}

/** One line of a listing. */
export interface ListedEntry {
  /** Binary string; show it with `displayPath`. */
  readonly path: string;
  readonly kind: NodeKind;
  readonly mode: number;
  readonly sizeBytes: number;
  /** Of symlinks. */
  readonly target: string;
}

/** The tree as a flat list, sorted. */
export function listTree(tree: VirtualTree): ListedEntry[] {
  return [...tree.walk()].map(({ path, node }) => ({
    path,
    kind: node.kind,
    mode: node.mode,
    sizeBytes: node.content?.size ?? 0,
    target: node.target,
  }));
}
