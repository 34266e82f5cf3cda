/** op-dbus init */
import { InputError } from "../base/errors.ts";
import { absolute } from "./absolute.ts";
import { command } from "./command.ts";
import { sizeFlag, textFlag, toggle } from "./flags.ts";

interface InitFlags {
  readonly loopback?: number;
  readonly image?: string;
  readonly plain?: boolean;
}

export const init = command<InitFlags>({
  brief: "Lay out the root folder with its subvolumes",
  description: "On a finished root it changes nothing. It never deletes anything.",
  examples: [
    "op-dbus init",
    "op-dbus --root /srv/op-dbus init --loopback 2G",
    "op-dbus --root ~/op-dbus init --plain",
  ],
  flags: {
    loopback: sizeFlag("Make, format and mount a btrfs image of this size on the root"),
    image: textFlag("The image file (default: <root>.btrfs)", "FILE"),
    plain: toggle("Folders instead of subvolumes: any file system, no snapshots"),
  },
  async run(context, { loopback, image, plain }) {
    if (image !== undefined && loopback === undefined) {
      throw new InputError("usage", "--image needs --loopback", {
        hint: "say how large the image shall be: --loopback 2G",
      });
    }
    if (plain && loopback !== undefined) {
      throw new InputError("usage", "--plain and --loopback exclude each other", {
        hint: "choose one",
      });
    }
    const { initRoot } = await import("../base/root.ts");
    const root = context.config.get("root");
    let mounted = null;
    if (loopback !== undefined) {
      const { mountLoopback } = await import("../base/root_loopback.ts");
      mounted = await mountLoopback({
        root,
        sizeBytes: loopback,
        ...(image !== undefined && { image: absolute(image) }),
      });
    }
    const result = initRoot({ root, ...(plain && { plain }) });
    for (const note of result.notes) context.out.warn(note);
    context.out.result(
      { ...result, loopback: mounted },
      () => describe(result, mounted),
    );
  },
});

function describe(
  result: { root: string; kind: string; created: readonly string[]; changed: boolean },
  mounted: { image: string; formatted: boolean; mounted: boolean; fstab: string } | null,
): string {
  const lines: string[] = [];
  if (mounted?.formatted) lines.push(`Made and formatted ${mounted.image}`);
  if (mounted?.mounted) {
    lines.push(`Mounted ${mounted.image} on ${result.root}`);
    lines.push(`To mount it at every start, add to /etc/fstab:\n  ${mounted.fstab}`);
  }
  const kind = result.kind === "btrfs" ? "btrfs subvolumes" : "plain folders";
  lines.push(
    result.changed
      ? `Initialised ${result.root} (${kind}): made ${result.created.length} entries`
      : `${result.root} is initialised already (${kind}): nothing changed`,
  );
  return lines.join("\n");
}
