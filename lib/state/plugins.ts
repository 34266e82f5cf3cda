/** The plugins with a mapping, in dependency order. */
import { isSysError } from "../../ffi/errno.ts";
import { InputError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { nearest } from "../base/nearest.ts";
import { discover, type HealthyPlugin } from "../plugin/discovery.ts";
import {
  type MappedService,
  type Mapping,
  MAX_MAPPING_BYTES,
  parseMapping,
} from "../plugin/mapping.ts";
import { orderByDependency } from "../plugin/mapping_order.ts";
import { parseNameRange } from "../plugin/names.ts";
import { asPlainLine } from "../plugin/plain_text.ts";
import { PluginFolder } from "../plugin/plugin_files.ts";

const MAPPING_FILE = "semantic-mapping.toml";

/** A plugin whose state can be read. */
export interface StatePlugin {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
  readonly mapping: Mapping & { readonly service: MappedService };
  readonly dependencies: readonly string[];
}

/** What {@link loadPlugins} found. */
export interface LoadedPlugins {
  /** In dependency order. */
  readonly plugins: readonly StatePlugin[];
  /** Why a plugin is left out, by name: broken, or nothing to read in it. */
  readonly unusable: ReadonlyMap<string, string>;
}

/**
 * Loads plugins.
 *
 * @param names only these; all where it is left out
 * @throws {InputError} for a name that is not installed, or a cycle of dependencies
 * @throws {OpError} when one of `names` cannot be used
 */
export function loadPlugins(layout: Layout, names?: readonly string[]): LoadedPlugins {
  const found = discoverAll(layout);
  const unusable = new Map<string, string>();
  const loaded = new Map<string, StatePlugin>();
  for (const plugin of found) {
    if (names && !names.includes(plugin.name)) continue;
    const result = plugin.manifest === null ? plugin.reason : load(plugin);
    if (typeof result === "string") unusable.set(plugin.name, result);
    else loaded.set(plugin.name, result);
  }
  for (const name of names ?? []) {
    if (loaded.has(name)) continue;
    const reason = unusable.get(name);
    if (reason === undefined) throw notInstalled(name, found.map((p) => p.name));
    throw new OpError("unusable_plugin", `Cannot use the plugin ${name}: ${reason}`, {
      hint: `look at it: op-dbus plugin show ${name}`,
    });
  }
  const { ordered, cycle } = orderByDependency(
    [...loaded.keys()],
    (name) => loaded.get(name)?.dependencies ?? [],
  );
  if (cycle) {
    throw new InputError(
      "dependency_cycle",
      `Cannot order the plugins: they depend on each other: ${cycle.join(" -> ")}`,
      { hint: "remove one of these dependencies from its plugin.toml" },
    );
  }
  return { plugins: ordered.map((name) => loaded.get(name)!), unusable };
}

function discoverAll(layout: Layout) {
  try {
    return discover(layout);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw error;
  }
}

/** The error for a plugin that is not there. */
export function notInstalled(name: string, known: readonly string[]): InputError {
  const guess = nearest(name, known);
  return new InputError(
    "unknown_plugin",
    `The plugin ${JSON.stringify(name)} is not installed`,
    { hint: guess ? `did you mean ${guess}?` : "see them: op-dbus plugin list" },
  );
}

/** A plugin, or why it cannot be used. */
function load(plugin: HealthyPlugin): StatePlugin | string {
  let text: string | null;
  try {
    using files = new PluginFolder(plugin.folder);
    text = files.readText(MAPPING_FILE, MAX_MAPPING_BYTES);
  } catch (error) {
    if (!isSysError(error) && !(error instanceof TypeError)) throw error;
    return `${MAPPING_FILE} cannot be read: ${error.message}`;
  }
  if (text === null) return `there is no ${MAPPING_FILE}`;
  let mapping: Mapping;
  try {
    mapping = parseMapping(text, `${plugin.name}/${MAPPING_FILE}`);
  } catch (error) {
    if (error instanceof InputError) return asPlainLine(error.message);
    throw error;
  }
  const { service } = mapping;
  if (!service) return `${MAPPING_FILE} has no [service]`;
  const { name, folder, manifest } = plugin;
  return {
    name,
    version: manifest.version,
    folder,
    mapping: { ...mapping, service },
    dependencies: manifest.dependencies.map((text) => parseNameRange(text)?.name ?? text),
  };
}
