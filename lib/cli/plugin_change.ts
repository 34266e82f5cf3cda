/** op-dbus plugin activate, rollback, remove, gc, verify */
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import type { Context } from "./context.ts";
import { argument, countFlag, DRY_RUN, toggle, YES } from "./flags.ts";
import {
  IGNORE_REQUIREMENTS,
  inWorkplace,
  mergeJson,
  tellMerge,
  WAIT,
} from "./plugin_place.ts";
import { table } from "./table.ts";

const DEFAULT_KEEP = 3;

/** What the host is checked with before a version becomes live. */
async function hostCheck(
  context: Context,
  { ignoreRequirements = false }: { readonly ignoreRequirements?: boolean },
) {
  const { thisHost } = await import("../plugin/requirements.ts");
  const note = (line: string) => context.out.warn(line);
  return { host: thisHost(), note, ignoreRequirements };
}

interface ActivateFlags {
  readonly allowUnsigned?: boolean;
  readonly ignoreRequirements?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly wait?: number;
}

/** `op-dbus plugin activate` */
export const activate = command<ActivateFlags, [string]>({
  brief: "Make a version live that is here already",
  description:
    "What was live becomes what `rollback` goes back to, in place of what was.",
  examples: ["op-dbus plugin activate lxc@1.2.0 --yes"],
  flags: {
    allowUnsigned: toggle("Also a snapshot that op-dbus did not verify itself"),
    ignoreRequirements: IGNORE_REQUIREMENTS,
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  positional: { kind: "tuple", parameters: [argument("Version", "NAME@VERSION")] },
  async run(context, flags, text) {
    const { InputError } = await import("../base/errors.ts");
    const { parseNameVersion } = await import("../plugin/names.ts");
    const { activateVersion, planActivation } = await import("../plugin/manage.ts");
    const version = parseNameVersion(text);
    if (!version) {
      throw new InputError("usage", `Not NAME@VERSION: ${JSON.stringify(text)}`, {
        hint: "see the versions with: op-dbus plugin show NAME",
      });
    }
    const dryRun = flags.dryRun ?? false, shown = `${version.name}@${version.version}`;
    await inWorkplace(context, flags.wait, async (place) => {
      const from = await planActivation(place, version, {
        ...await hostCheck(context, flags),
        allowUnverified: flags.allowUnsigned ?? false,
      });
      const what = `make ${shown} live${from === null ? "" : ` in place of ${from}`}`;
      if (dryRun) {
        const plan = { dry_run: true, ...version, from };
        return context.out.result(plan, () => `Would ${what}`);
      }
      await confirm(context, `M${what.slice(1)}`, flags.yes ?? false);
      const done = await activateVersion(place, version, flags.allowUnsigned);
      tellMerge(context, version.name, done);
      context.out.result(
        { dry_run: false, ...version, from: done.from, ...mergeJson(done) },
        () => `${shown} is live`,
      );
    });
  },
});

type RollbackFlags = Omit<ActivateFlags, "allowUnsigned">;

/** `op-dbus plugin rollback` */
export const rollback = command<RollbackFlags, [string]>({
  brief: "Go back to what was live before, with its state of that time",
  description: "Twice is forth again: nothing is lost.",
  examples: [
    "op-dbus plugin rollback lxc --dry-run",
    "op-dbus plugin rollback lxc --yes",
  ],
  flags: {
    ignoreRequirements: IGNORE_REQUIREMENTS,
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  positional: { kind: "tuple", parameters: [argument("Plugin", "NAME")] },
  async run(context, flags, name) {
    const { planRollback, rollbackPlugin } = await import("../plugin/manage.ts");
    const { requirePluginName } = await import("../plugin/names.ts");
    requirePluginName(name);
    const dryRun = flags.dryRun ?? false;
    await inWorkplace(context, flags.wait, async (place) => {
      const planned = await planRollback(place, name, await hostCheck(context, flags));
      const { from } = planned, to = planned.record.subject;
      const what = `go back to ${to}, with its state of that time` +
        (from === null ? "" : `; ${from} and its state are kept beside it`);
      if (!dryRun) {
        await confirm(context, `G${what.slice(1)}`, flags.yes ?? false);
        await rollbackPlugin(place, planned);
      }
      context.out.result(
        { dry_run: dryRun, name, from, to: to.slice(name.length + 1) },
        () => dryRun ? `Would ${what}` : `${to} is live again`,
      );
    });
  },
});

interface RemoveFlags {
  readonly purge?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly wait?: number;
}

/** `op-dbus plugin remove` */
export const remove = command<RemoveFlags, string[]>({
  brief: "Remove plugins; their state is kept unless purged",
  examples: ["op-dbus plugin remove lxc", "op-dbus plugin remove lxc --purge --yes"],
  flags: {
    purge: toggle("Delete the state, too"),
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  positional: {
    kind: "array",
    minimum: 1,
    parameter: { brief: "Plugins", placeholder: "NAME", parse: String },
  },
  async run(context, flags, ...names) {
    const { planRemoval, removePlugins } = await import("../plugin/manage.ts");
    const { requirePluginName } = await import("../plugin/names.ts");
    names.forEach(requirePluginName);
    const purge = flags.purge ?? false;
    await inWorkplace(context, flags.wait, async (place) => {
      const planned = planRemoval(place, names, purge);
      if (!flags.dryRun) {
        const what = purge ? " and delete their state for good" : "";
        await confirm(context, `Remove ${names.join(", ")}${what}`, flags.yes ?? false);
        await removePlugins(place, planned);
      }
      const verb = flags.dryRun ? "Would remove" : "Removed";
      context.out.result(
        {
          dry_run: flags.dryRun ?? false,
          removed: planned.map(({ step, from }) => ({
            name: step.name,
            version: from,
            purged: purge,
          })),
        },
        () =>
          planned.map(({ step: { name }, from }) =>
            `${verb} ${name}${from === null ? "" : ` ${from}`}` +
            (purge ? "" : `; its state is kept (op-dbus plugin rollback ${name})`)
          ).join("\n"),
      );
    });
  },
});

interface GcFlags {
  readonly keep?: number;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly wait?: number;
}

/** `op-dbus plugin gc` */
export const gc = command<GcFlags>({
  brief: "Delete versions that nothing needs any more, and old downloads",
  description: `Kept are what is live, what a rollback needs, and the newest ` +
    `${DEFAULT_KEEP} of each plugin (--keep).`,
  examples: ["op-dbus plugin gc --dry-run", "op-dbus plugin gc --keep 1 --yes"],
  flags: {
    keep: countFlag(`Newest versions to keep of each (default ${DEFAULT_KEEP})`),
    dryRun: DRY_RUN,
    yes: YES,
    wait: WAIT,
  },
  async run(context, flags) {
    const { collectGarbage, planGc } = await import("../plugin/manage.ts");
    await inWorkplace(context, flags.wait, async (place) => {
      const decisions = planGc(context.layout, flags.keep ?? DEFAULT_KEEP);
      const doomed = decisions.filter((decision) => !decision.keep);
      if (!flags.dryRun && doomed.length > 0) {
        const names = doomed.map(({ name, version }) => `${name}@${version}`).join(", ");
        await confirm(context, `Delete ${names}`, flags.yes ?? false);
      }
      const dropped = flags.dryRun
        ? { downloads: 0 }
        : await collectGarbage(place, decisions);
      context.out.result(
        { dry_run: flags.dryRun ?? false, versions: decisions, ...dropped },
        () =>
          decisions.length === 0 ? "No versions" : table(
            ["VERSION", "", "WHY"],
            decisions.map(({ name, version, keep, reason }) => [
              `${name}@${version}`,
              keep ? "keep" : "delete",
              reason,
            ]),
          ),
      );
    });
  },
});

/** `op-dbus plugin verify` */
export const verify = command<object, string[]>({
  brief: "Compare plugins with what was signed and installed: exit 3 where they differ",
  examples: ["op-dbus plugin verify", "op-dbus plugin verify lxc --json"],
  flags: {},
  positional: {
    kind: "array",
    minimum: 0,
    parameter: { brief: "Plugins; none for all", placeholder: "NAME", parse: String },
  },
  async run(context, _flags, ...names) {
    const { verifyPlugin } = await import("../plugin/manage.ts");
    const { livePlugins } = await import("../plugin/installed.ts");
    const { requireRoot } = await import("../base/root.ts");
    const { DifferenceError } = await import("../base/errors.ts");
    const { layout, out } = context;
    requireRoot(layout.root);
    const which = names.length > 0 ? names : livePlugins(layout).map(({ name }) => name);
    const plugins = which.map((name) => verifyPlugin(layout, name));
    out.result(
      {
        plugins: plugins.map(({ users, ...rest }) => ({ ...rest, users_changed: users })),
      },
      () =>
        plugins.length === 0 ? "No plugins" : table(
          ["NAME", "VERSION", "RESULT"],
          plugins.map(({ name, version, ok, fault, changed, users }) => [
            name,
            version ?? "",
            fault ?? (ok
              ? `as installed${
                users.length > 0 ? ` (${users.length} files of yours)` : ""
              }`
              : `changed: ${changed.slice(0, 5).join(", ")}`),
          ]),
        ),
    );
    const bad = plugins.filter(({ ok }) => !ok).map(({ name }) => name);
    if (bad.length === 0) return;
    throw new DifferenceError("differs", `Not as installed: ${bad.join(", ")}`, {
      hint: plugins.some(({ fault }) => fault !== null)
        ? "install it again from its package: op-dbus plugin install FILE"
        : "op-dbus plugin activate NAME@VERSION makes it as installed again",
    });
  },
});
