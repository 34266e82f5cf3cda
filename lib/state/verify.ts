/** Verifying: does the host still match a document, or what was applied last? */
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { readCurrent } from "./current.ts";
import { diff, type DiffOptions } from "./diff.ts";
import type { Desired, Plan } from "./model.ts";

/**
 * What was applied last.
 *
 * @throws {OpError} `nothing_applied` before the first apply
 */
export function appliedState(layout: Layout): Desired {
  const current = readCurrent(layout);
  if (current) return current.plugins;
  throw new OpError("nothing_applied", "Nothing was applied yet", {
    hint: "name a state file: op-dbus verify STATE.json",
  });
}

/**
 * The differences between the host and a document, or what was applied last.
 *
 * @param desired default: {@link appliedState} of the plugins still installed
 */
export async function verify(
  options: DiffOptions,
  desired: Desired = appliedState(options.layout),
): Promise<Plan> {
  return await diff(desired, options);
}
