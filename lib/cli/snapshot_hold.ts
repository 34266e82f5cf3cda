/** op-dbus snapshot hold, release */
import { command } from "./command.ts";
import { argument, textFlag } from "./flags.ts";
import {
  findTargetFor,
  lockOptions,
  TARGET,
  type TargetFlag,
  WAIT,
} from "./snapshot_common.ts";

const NAME = argument("Name of the snapshot", "NAME");
const DEFAULT_TAG = "held by hand";

interface HoldFlags extends TargetFlag {
  readonly tag?: string;
  readonly wait?: number;
}

/** `op-dbus snapshot hold` */
export const hold = command<HoldFlags, [string]>({
  brief: "Protect a snapshot from every policy",
  examples: ["op-dbus snapshot hold cache@2025-01-15-10:00 --tag before-upgrade"],
  flags: { target: TARGET, tag: textFlag("Why", "WHY"), wait: WAIT },
  positional: { kind: "tuple", parameters: [NAME] },
  async run(context, flags, name) {
    const { addHold } = await import("../snapshot/holds.ts");
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const { lockTarget } = await import("../snapshot/create.ts");
    const target = await findTargetFor(context, flags, name);
    using _lock = await lockTarget(target, lockOptions(context, flags.wait));
    const found = findSnapshot(target, name), tag = flags.tag ?? DEFAULT_TAG;
    addHold(target.folder, found.name, tag, Date.now());
    const tags = [...new Set([...found.holds.map((one) => one.tag), tag])].sort();
    context.out.result(
      { name: found.name, holds: tags },
      () => `${found.name} is held: ${tags.join(", ")}`,
    );
  },
});

/** `op-dbus snapshot release` */
export const release = command<HoldFlags, [string]>({
  brief: "Take a hold off a snapshot, or all of them",
  examples: [
    "op-dbus snapshot release cache@2025-01-15-10:00",
    "op-dbus snapshot release cache@2025-01-15-10:00 --tag before-upgrade",
  ],
  flags: { target: TARGET, tag: textFlag("Only this one", "WHY"), wait: WAIT },
  positional: { kind: "tuple", parameters: [NAME] },
  async run(context, flags, name) {
    const { removeHolds } = await import("../snapshot/holds.ts");
    const { findSnapshot } = await import("../snapshot/remove.ts");
    const { lockTarget } = await import("../snapshot/create.ts");
    const target = await findTargetFor(context, flags, name);
    using _lock = await lockTarget(target, lockOptions(context, flags.wait));
    const found = findSnapshot(target, name);
    const released = removeHolds(target.folder, found.name, flags.tag ?? null);
    const left = found.holds.map((one) => one.tag).filter((tag) =>
      !released.includes(tag)
    );
    context.out.result({ name: found.name, released, holds: left }, () => {
      const still = left.length > 0 ? `, still held: ${left.join(", ")}` : "";
      return `${found.name}: ${released.length} released${still}`;
    });
  },
});
