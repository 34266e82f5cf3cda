/** Snapshots for a list: sizes where quotas are on, and why the policy keeps each. */
import { openFolder } from "../../ffi/btrfs.ts";
import { type QuotaSize, quotaSizes } from "../../ffi/btrfs_search.ts";
import { isSysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { decide, type Reason } from "./decide.ts";
import type { Found } from "./found.ts";
import type { Policy } from "./policy.ts";
import { asCandidate, clockOf } from "./rotate.ts";

/** One snapshot with what is known of it. */
export interface Described {
  readonly found: Found;
  /** Null where quotas are off; they are never switched on. */
  readonly size: QuotaSize | null;
  /** Why the policy keeps it, or that the next run deletes it; empty without a policy. */
  readonly reasons: readonly Reason[];
  /** What the next prune does. */
  readonly next: "keep" | "delete";
}

/** Adds sizes and reasons to what was found. */
export function describe(
  folder: string,
  found: readonly Found[],
  policy: Policy | null,
  nowMs: number,
): Described[] {
  const sizes = found.length === 0 ? null : sizesIn(folder);
  const decisions = policy === null ? new Map() : new Map(
    decide(found.map(asCandidate), policy, nowMs, clockOf(found, nowMs))
      .map((decision) => [decision.name, decision]),
  );
  return found.map((one) => ({
    found: one,
    size: sizes?.get(one.info.id) ?? null,
    reasons: decisions.get(one.name)?.reasons ?? [],
    next: decisions.get(one.name)?.action ?? "keep",
  }));
}

function sizesIn(folder: string): Map<bigint, QuotaSize> | null {
  try {
    return withFd(openFolder(folder), quotaSizes);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}
