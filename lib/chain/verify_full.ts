/** Everything that `chain verify --full` looks at besides the blocks themselves. */
import type { Layout } from "../base/layout.ts";
import { OpError } from "../base/errors.ts";
import { ChainFiles } from "./files.ts";
import { readCheckpoints } from "./recover.ts";
import { checkStates } from "./states.ts";
import {
  type ChainFault,
  type ChainReport,
  verifyChain,
  type VerifyOptions,
} from "./verify.ts";

/**
 * {@link verifyChain}, and: every checkpoint that the host kept (with `options.key`:
 * signature, and that the chain extends it), every state that a block names.
 */
export async function verifyEverything(
  layout: Layout,
  options: VerifyOptions,
): Promise<ChainReport> {
  using files = new ChainFiles(layout.timing);
  const more: ChainFault[] = [];
  const against = [...(options.against ?? [])];
  const kept = options.key ? readCheckpoints(files, options.key) : [];
  for (const { name, checkpoint } of kept) {
    if (checkpoint instanceof OpError) {
      more.push({ block: null, problem: `checkpoint ${name}: ${checkpoint.message}` });
    } else against.push({ name: `checkpoint ${name}`, checkpoint });
  }
  const states = new Set<string>();
  const report = await verifyChain(layout.timing, {
    ...options,
    against,
    onState: (hash) => states.add(hash),
  });
  for (const problem of checkStates(layout, states)) {
    more.push({ block: null, problem });
  }
  const faults = [...report.faults, ...more];
  return { ...report, faults, ok: faults.length === 0 };
}
