/** Everything that `chain verify --full` looks at besides the blocks themselves. */
import type { Layout } from "../base/layout.ts";
import { OpError } from "../base/errors.ts";
import { ChainFiles } from "./files.ts";
import { ChainReader, pause } from "./reader.ts";
import { readCheckpoints } from "./recover.ts";
import { checkStates } from "./states.ts";
import {
  type ChainFault,
  type ChainReport,
  verifyChain,
  type VerifyOptions,
} from "./verify.ts";

const BLOCKS_PER_TURN = 512;

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
  const report = await verifyChain(layout.timing, { ...options, against });
  for (const problem of await stateFaults(layout, options.signal)) {
    more.push({ block: null, problem });
  }
  const faults = [...report.faults, ...more];
  return { ...report, faults, ok: faults.length === 0 };
}

async function stateFaults(layout: Layout, signal?: AbortSignal): Promise<string[]> {
  const hashes = new Set<string>();
  try {
    using reader = new ChainReader(layout.timing);
    for (let number = 0; number < reader.size; number++) {
      if (number % BLOCKS_PER_TURN === 0) await pause(signal);
      const { state } = reader.readRaw(number).header;
      if (state !== undefined) hashes.add(state);
    }
  } catch (error) {
    if (!(error instanceof OpError)) throw error; // the blocks' own faults are told
  }
  return checkStates(layout, hashes);
}
