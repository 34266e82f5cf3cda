/** Chooses where the hot path runs, by the settings, and puts its threads there. */
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import type { Placement } from "../placement/strategy.ts";
import type { Context } from "./context.ts";

/**
 * The placement for this process; null where there is only one node and nothing was asked
 * for, which is found out in microseconds.
 *
 * @throws {InputError} for a strategy or node that is not there
 */
export async function openPlacement(context: Context): Promise<Placement | null> {
  const { config, out } = context;
  const asked = config.entry("placement.strategy").source !== "default";
  if (!asked && isSingleNode()) return null;
  const { readTopology } = await import("../placement/topology.ts");
  const { choosePlacement, parseStrategy } = await import("../placement/strategy.ts");
  const { pinThreads } = await import("../placement/apply.ts");
  const { currentCpu } = await import("../../ffi/affinity.ts");
  const policy = config.get("placement.policy");
  const strategy = parseStrategy(config.get("placement.strategy"));
  const placement = choosePlacement(readTopology(), strategy, {
    currentCpu: currentCpu(),
    turn: Deno.pid,
    ...(policy !== "auto" && { policy }),
  });
  if (config.get("placement.pin_threads")) pinThreads(placement);
  out.debug(`placement: ${placement.reason}`);
  return placement;
}

function isSingleNode(): boolean {
  try {
    return readTextFile("/sys/devices/system/node/online").trim() === "0";
  } catch (error) {
    if (isSysError(error, "ENOENT")) return true; // a kernel without NUMA
    throw error;
  }
}
