/** op-dbus plugin pack, snapshot, inspect */
import { formatSize } from "../base/units.ts";
import { absolute, outputFolder } from "./absolute.ts";
import { command } from "./command.ts";
import { argument, textFlag, toggle } from "./flags.ts";
import { inWorkplace, openTrust, WAIT } from "./plugin_place.ts";
import { table } from "./table.ts";

interface PackFlags {
  readonly output?: string;
  readonly force?: boolean;
  readonly deltaFrom?: string;
}

const OUTPUT = textFlag("Folder that the package goes into (default: here)", "DIR");
const FORCE = toggle("Replace a package that is there");

/** SOURCE_DATE_EPOCH, as reproducible builds have it. */
async function sourceDateEpoch(): Promise<number | undefined> {
  const text = Deno.env.get("SOURCE_DATE_EPOCH");
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  const { InputError } = await import("../base/errors.ts");
  throw new InputError("bad_epoch", `SOURCE_DATE_EPOCH is no number: ${text}`, {
    hint: "seconds since 1970, like $(git log -1 --format=%ct)",
  });
}

/** `op-dbus plugin pack` */
export const pack = command<PackFlags, [string]>({
  brief: "Make a package from a folder: no root, no btrfs, the same bytes every time",
  examples: [
    "op-dbus plugin pack ./lxc",
    "op-dbus plugin pack ./lxc --output dist --delta-from 1.1.0",
  ],
  flags: {
    output: OUTPUT,
    force: FORCE,
    deltaFrom: textFlag(
      "Only what changed since this version, whose package is in the same folder",
      "VERSION",
    ),
  },
  positional: { kind: "tuple", parameters: [argument("The plugin's folder", "DIR")] },
  async run(context, flags, folder) {
    const { packPlugin } = await import("../plugin/pack.ts");
    const epoch = await sourceDateEpoch();
    const packed = await packPlugin(absolute(folder), {
      output: outputFolder(flags.output ?? "."),
      signal: context.signal,
      ...(flags.force && { force: true }),
      ...(flags.deltaFrom !== undefined && { deltaFrom: flags.deltaFrom }),
      ...(epoch !== undefined && { sourceDateEpoch: epoch }),
    });
    const { path, tree, sizeBytes, sha256, manifest: { name, version } } = packed;
    context.out.result(
      { name, version, path, tree, size_bytes: sizeBytes, sha256 },
      () => `${path} (${formatSize(sizeBytes)})\ntree ${tree}`,
    );
  },
});

interface SnapshotFlags extends PackFlags {
  readonly wait?: number;
}

/** `op-dbus plugin snapshot` */
export const snapshot = command<SnapshotFlags, [string]>({
  brief: "Freeze the live plugin as a version, and send that into a package",
  examples: [
    "sudo op-dbus plugin snapshot lxc",
    "sudo op-dbus plugin snapshot lxc --delta-from 1.1.0 --output dist",
  ],
  flags: {
    output: OUTPUT,
    force: FORCE,
    deltaFrom: textFlag("Only what changed since this version", "VERSION"),
    wait: WAIT,
  },
  positional: { kind: "tuple", parameters: [argument("Plugin", "NAME")] },
  async run(context, flags, name) {
    const { snapshotPlugin } = await import("../plugin/snapshot.ts");
    const { requirePluginName } = await import("../plugin/names.ts");
    requirePluginName(name);
    const output = outputFolder(flags.output ?? ".");
    const made = await inWorkplace(
      context,
      flags.wait,
      (place) =>
        snapshotPlugin(place, name, {
          output,
          signal: context.signal,
          ...(flags.force && { force: true }),
          ...(flags.deltaFrom !== undefined && { deltaFrom: flags.deltaFrom }),
        }),
    );
    const { manifest: { version }, sizeBytes, sha256, tree, created } = made;
    context.out.result(
      {
        name,
        version,
        snapshot: made.snapshot,
        created,
        package: made.package,
        tree,
        size_bytes: sizeBytes,
        sha256,
      },
      () => `${made.snapshot}\n${made.package} (${formatSize(sizeBytes)})\ntree ${tree}`,
    );
  },
});

/** `op-dbus plugin inspect` */
export const inspect = command<object, [string]>({
  brief: "Look into a package: content, powers, signer; writes nothing, needs no root",
  examples: ["op-dbus plugin inspect lxc-v1.2.0.btrfs.zst"],
  flags: {},
  positional: { kind: "tuple", parameters: [argument("Package", "FILE")] },
  async run(context, _flags, file) {
    const { inspectPackage } = await import("../plugin/inspect.ts");
    const { trust, repositories } = await openTrust(context);
    const found = await inspectPackage(
      absolute(file),
      { layout: context.layout, trust, repositories },
      context.signal,
    );
    const { out } = context;
    out.result(found, () => {
      const facts: [string, string][] = [
        ["Plugin", `${found.manifest?.name ?? "?"}@${found.manifest?.version ?? "?"}`],
        ["About", (found.manifest?.description ?? "").replace(/\s+/g, " ")],
        ["Author", found.manifest?.author ?? ""],
        ["Needs", found.manifest?.dependencies.join(", ") ?? ""],
        ["Signature", found.signature.summary],
        ["Builds on", found.builds_on ?? ""],
        ["SHA-256", found.sha256],
        ["Tree digest", found.tree ?? "needs the version that it builds on"],
        ["Talks to", found.powers.bus_names.join(", ")],
        ["May change", found.powers.unsafe_methods.join(", ")],
        ...found.problems.map((problem): [string, string] => ["Problem", problem]),
        ...found.findings.map((finding): [string, string] => ["REFUSED", finding]),
      ];
      const files = found.entries.map(({ kind, mode, size_bytes, path, target }) => [
        kind,
        mode,
        String(size_bytes),
        target === null ? path : `${path} -> ${target}`,
      ]);
      return table(["", ""], facts.filter(([, text]) => text !== "")).trimStart() +
        `\n\n${table(["KIND", "MODE", "BYTES", "PATH"], files, [2])}`;
    });
    if (found.ok) return;
    const { DifferenceError } = await import("../base/errors.ts");
    throw new DifferenceError("refused", `${file} would not be installed`, {
      hint: "see above; ask its author",
    });
  },
});
