/** What the scheduler does. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Config } from "../base/config.ts";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import type { Recorder } from "../base/recorder.ts";
import { rootKind } from "../base/root.ts";
import { inSlices } from "../base/slices.ts";
import { parseDuration } from "../base/units.ts";
import type { Created } from "../snapshot/create.ts";
import type { Policy } from "../snapshot/policy.ts";
import type { Job } from "./scheduler.ts";

const FLUSH_EVERY_MS = 30_000;
const COMPACT_EVERY_MS = 10 * 60_000;
/** The chain's own subvolumes. */
const CHAIN_TARGETS = ["timing", "vectors", "state"] as const;

/** What the jobs work on. */
export interface JobContext {
  readonly layout: Layout;
  readonly config: Config;
  readonly cache: EmbeddingCache;
  readonly recorder: Recorder;
  /** Hears of each snapshot that was made. */
  readonly onSnapshot?: (made: Created) => void;
}

/** The jobs that the configuration asks for. */
export function jobsOf(context: JobContext): Job[] {
  const { config, layout, cache } = context;
  const jobs: Job[] = [
    { name: "flush", everyMs: FLUSH_EVERY_MS, run: () => cache.flush() },
    {
      name: "compact",
      everyMs: COMPACT_EVERY_MS,
      run: async (signal) => {
        const threshold = config.get("cache.compact_threshold");
        await inSlices(cache.compactingIfDue({ signal }, threshold));
      },
    },
  ];
  if (rootKind(layout.root) !== "btrfs") return jobs; // snapshots need btrfs
  return [...jobs, {
    name: "snapshots",
    everyMs: config.get("serve.snapshot_every"),
    run: (signal) => rotateTargets(context, signal),
  }, {
    name: "chain-snapshots",
    everyMs: chainInterval(config),
    run: (signal) => snapshotChain(layout, config, signal),
  }];
}

/** Milliseconds between chain snapshots; 0 for off and for after each change. */
export function chainInterval(config: Config): number {
  const text = config.get("chain.snapshot_every");
  if (text === "off" || text === "operation") return 0;
  try {
    return parseDuration(text);
  } catch (cause) {
    const message = `Cannot use chain.snapshot_every: ${JSON.stringify(text)}`;
    throw new InputError("invalid_config", message, {
      cause,
      hint: "set it to off, operation, or a duration such as 15m",
    });
  }
}

async function rotateTargets(context: JobContext, signal: AbortSignal): Promise<void> {
  const { config, layout, recorder } = context;
  const { findTarget } = await import("../snapshot/target.ts");
  const { policyOf } = await import("../snapshot/policy.ts");
  const { rotate } = await import("../snapshot/rotate.ts");
  const failed: unknown[] = [];
  for (const name of config.get("snapshot.default_targets")) {
    try {
      const target = findTarget(layout, config, name), policy = policyOf(target, config);
      const { created } = await rotate(target, policy, { recorder, signal });
      if (created) context.onSnapshot?.(created);
    } catch (error) {
      signal.throwIfAborted();
      failed.push(error); // the other targets have their snapshots all the same
    }
  }
  if (failed.length > 0) throw failed[0];
}

/**
 * Snapshots of the chain, its vectors and the states, kept by `chain.keep_*`. They are
 * not put on record: a record would ask for the next snapshot.
 */
export async function snapshotChain(
  layout: Layout,
  config: Config,
  signal?: AbortSignal,
): Promise<void> {
  const { findTarget } = await import("../snapshot/target.ts");
  const { rotate } = await import("../snapshot/rotate.ts");
  const policy = await chainPolicy(config);
  for (const name of CHAIN_TARGETS) {
    await rotate(findTarget(layout, config, name), policy, signal ? { signal } : {});
  }
}

/** Which snapshots of the chain are kept: the rules of `chain.keep_*` and no others. */
export async function chainPolicy(config: Config): Promise<Policy> {
  const { DEFAULT_POLICY } = await import("../snapshot/policy.ts");
  return {
    ...DEFAULT_POLICY,
    keep_last: 0,
    keep_hourly: config.get("chain.keep_hourly"),
    keep_daily: config.get("chain.keep_daily"),
    keep_weekly: config.get("chain.keep_weekly"),
    keep_quarterly: config.get("chain.keep_quarterly"),
  };
}
