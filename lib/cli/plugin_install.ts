/** op-dbus plugin install, upgrade */
import type { InstalledChange, PlannedChange } from "../plugin/install.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { DRY_RUN, toggle, YES } from "./flags.ts";
import {
  changeJson,
  changeLine,
  IGNORE_REQUIREMENTS,
  importInstall,
  installContext,
  type InstallFlags,
  inWorkplace,
  mergeJson,
  tellMerge,
  WAIT,
} from "./plugin_place.ts";

const SHARED = {
  ignoreRequirements: IGNORE_REQUIREMENTS,
  dryRun: DRY_RUN,
  yes: YES,
  wait: WAIT,
};

interface Flags extends InstallFlags {
  readonly locked?: boolean;
}

/** `op-dbus plugin install` */
export const install = command<Flags, string[]>({
  brief: "Install plugins: files, URLs, or names from the repositories",
  description:
    "Resolves dependencies, verifies signature, digest and content, shows what each " +
    "plugin may do, asks, receives it read-only, and makes it live.",
  examples: [
    "op-dbus plugin install lxc",
    "op-dbus plugin install lxc@1.2.0 net@^1.2 --yes",
    "op-dbus plugin install ./lxc-v1.2.0.btrfs.zst",
  ],
  flags: {
    allowUnsigned: toggle("Also local files that nobody signed whom you trust"),
    allowHttp: toggle("Also URLs with plain http"),
    locked: toggle("Only the versions and digests of meta/op-dbus.lock"),
    ...SHARED,
  },
  positional: {
    kind: "array",
    minimum: 0,
    parameter: { brief: "What to install", placeholder: "WHAT", parse: String },
  },
  async run(context, flags, ...what) {
    const { installPlugins } = await importInstall();
    const { parseRequest } = await import("../plugin/request.ts");
    const { locked, wanted } = await lockedRequests(context, flags, what);
    const requests = wanted.map((text) => parseRequest(text, Deno.cwd()));
    const tell = teller(context, flags);
    const done = await inWorkplace(context, flags.wait, async (place) => {
      const named = requests.some(({ kind }) => kind === "name");
      const base = await installContext(context, flags, tell.planned, named);
      return await installPlugins(place, requests, { ...base, locked });
    });
    tell.done(done);
  },
});

/** With `--locked` and no names, everything that the lock file names. */
async function lockedRequests(context: Context, flags: Flags, what: readonly string[]) {
  const { InputError } = await import("../base/errors.ts");
  if (!flags.locked) {
    if (what.length > 0) return { locked: undefined, wanted: what };
    throw new InputError("usage", "Nothing to install", {
      hint: "name a package file, a URL, or NAME[@RANGE]",
    });
  }
  const { readLockFile } = await import("../plugin/lockfile.ts");
  const { lockFilePath } = await import("../plugin/places.ts");
  const path = lockFilePath(context.layout);
  const file = readLockFile(path);
  if (!file) {
    throw new InputError("no_lock_file", `There is no ${path}`, {
      hint: "copy it there from the host that has the right versions",
    });
  }
  const names = file.plugins.map(({ name, version }) => `${name}@${version}`);
  return { locked: file.plugins, wanted: what.length > 0 ? what : names };
}

type UpgradeFlags = Omit<InstallFlags, "allowUnsigned" | "allowHttp">;

/** `op-dbus plugin upgrade` */
export const upgrade = command<UpgradeFlags, string[]>({
  brief: "Bring plugins to the newest version that fits",
  examples: ["op-dbus plugin upgrade --dry-run", "op-dbus plugin upgrade lxc --yes"],
  flags: SHARED,
  positional: {
    kind: "array",
    minimum: 0,
    parameter: { brief: "Plugins; none for all", placeholder: "NAME", parse: String },
  },
  async run(context, flags, ...names) {
    const { upgradePlugins } = await importInstall();
    const tell = teller(context, flags);
    const done = await inWorkplace(
      context,
      flags.wait,
      async (place) =>
        await upgradePlugins(
          place,
          names,
          await installContext(context, flags, tell.planned),
        ),
    );
    tell.done(done);
  },
});

/** Prints the plan of a dry run, or what was done. */
function teller(context: Context, flags: InstallFlags) {
  let shown = false;
  return {
    planned(changes: readonly PlannedChange[]) {
      shown = true;
      context.out.result(
        { dry_run: true, changes: changes.map(changeJson) },
        () => changes.map((change) => `Would ${changeLine(change)}`).join("\n"),
      );
    },
    done(changes: readonly InstalledChange[]) {
      if (shown) return;
      for (const one of changes) tellMerge(context, one.change.name, one);
      context.out.result(
        {
          dry_run: flags.dryRun ?? false,
          changes: changes.map((one) => ({
            ...changeJson(one.change),
            signed_by: one.change.package?.signedBy ?? null,
            ...mergeJson(one),
          })),
        },
        () =>
          changes.length === 0
            ? "Nothing to do: everything is as wanted"
            : changes.map(({ change }) => `Done: ${changeLine(change)}`).join("\n"),
      );
    },
  };
}
