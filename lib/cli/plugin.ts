/** op-dbus plugin */
import { command, group } from "./command.ts";
import { argument } from "./flags.ts";
import { inspect, pack, snapshot } from "./plugin_author.ts";
import { create } from "./plugin_create.ts";
import { activate, gc, remove, rollback, verify } from "./plugin_change.ts";
import { install, upgrade } from "./plugin_install.ts";
import { absolute } from "./absolute.ts";
import { table } from "./table.ts";

const list = command({
  brief: "List the plugins, whole and broken",
  examples: ["op-dbus plugin list", "op-dbus plugin list --json"],
  flags: {},
  async run({ layout, out }) {
    const { requireRoot } = await import("../base/root.ts");
    const { discover } = await import("../plugin/discovery.ts");
    requireRoot(layout.root);
    const plugins = discover(layout).map((plugin) => ({
      name: plugin.name,
      version: plugin.manifest?.version ?? null,
      status: plugin.manifest ? "ok" : "broken",
      description: plugin.manifest?.description ?? null,
      reason: plugin.manifest ? null : plugin.reason,
      warnings: plugin.manifest ? plugin.warnings : [],
    }));
    out.result({ plugins }, () =>
      plugins.length === 0 ? "No plugins" : table(
        ["NAME", "VERSION", "STATUS", "ABOUT"],
        plugins.map(({ name, version, status, description, reason }) => [
          name,
          version ?? "",
          status === "broken" ? out.style("red", status) : status,
          reason ?? (description ?? "").replace(/\s+/g, " ").slice(0, 80),
        ]),
      ));
  },
});

const show = command<object, [string]>({
  brief: "Show a plugin: its manifest, versions, signer, needs and powers",
  examples: ["op-dbus plugin show lxc", "op-dbus plugin show lxc --json"],
  flags: {},
  positional: { kind: "tuple", parameters: [argument("Plugin", "NAME")] },
  async run({ layout, out }, _flags, name) {
    const { describePlugin } = await import("../plugin/describe.ts");
    const { requirePluginName } = await import("../plugin/names.ts");
    const { requireRoot } = await import("../base/root.ts");
    requireRoot(layout.root);
    const about = await describePlugin(layout, requirePluginName(name));
    out.result(about, () => {
      const { manifest, active, versions, previous, missing, powers } = about;
      const lines: [string, string][] = [
        ["Name", name],
        ["Version", manifest?.version ?? `broken: ${about.reason}`],
        ["Author", manifest?.author ?? ""],
        ["About", (manifest?.description ?? "").replace(/\s+/g, " ")],
        ["Needs", manifest?.dependencies.join(", ") ?? ""],
        ["Missing here", missing.join(", ")],
        ["Perhaps missing", about.unknown.join(", ")],
        ["Needed by", about.dependents.join(", ")],
        ["Installed from", active?.source ?? "made here"],
        ["Signed by", active?.signed_by ?? (active ? "nobody" : "")],
        ["Tree digest", active?.tree ?? ""],
        ["Versions here", versions.map(({ version }) => version).join(", ")],
        ["Rollback to", previous ?? ""],
        ["Talks to", powers.bus_names.join(", ")],
        ["May change", powers.unsafe_methods.join(", ")],
      ];
      return table(["", ""], lines.filter(([, text]) => text !== "")).trimStart();
    });
  },
});

const validate = command<object, [string]>({
  brief: "Check a plugin's folder and report everything that is wrong with it",
  examples: ["op-dbus plugin validate ./lxc"],
  flags: {},
  positional: { kind: "tuple", parameters: [argument("Folder", "DIR")] },
  async run({ out }, _flags, folder) {
    const { validatePlugin } = await import("../plugin/validate.ts");
    const { formatProblem } = await import("../plugin/problems.ts");
    const { lackingRequirements, thisHost } = await import("../plugin/requirements.ts");
    const { InputError } = await import("../base/errors.ts");
    const { valid, problems, manifest, mapping } = validatePlugin(absolute(folder));
    const { missing, unknown } = manifest
      ? await lackingRequirements(manifest, mapping, thisHost())
      : { missing: [], unknown: [] };
    out.result({ valid, problems, missing, unknown }, () =>
      [
        ...problems.map((problem) =>
          `${
            out.style(problem.severity === "error" ? "red" : "yellow", problem.severity)
          }: ` +
          formatProblem(problem)
        ),
        ...(missing.length > 0 ? [`this host lacks: ${missing.join(", ")}`] : []),
        ...(unknown.length > 0 ? [`this host may lack: ${unknown.join(", ")}`] : []),
        ...(valid ? [`${manifest!.name}@${manifest!.version} is valid`] : []),
      ].join("\n"));
    if (valid) return;
    const errors = problems.filter(({ severity }) => severity === "error").length;
    throw new InputError(
      "invalid_plugin",
      `${folder} is not valid: ${errors} error${errors === 1 ? "" : "s"}`,
      {
        hint: "correct the lines above",
      },
    );
  },
});

export const plugin = group("Make, install and keep plugins", {
  create,
  list,
  show,
  validate,
  pack,
  snapshot,
  inspect,
  install,
  upgrade,
  activate,
  rollback,
  remove,
  verify,
  gc,
});
