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
import { cycleThrough, orderByDependency } from "../plugin/mapping_order.ts";
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
 * @throws {InputError} for a name that is not installed
 * @throws {OpError} when one of `names` cannot be used
 */
export function loadPlugins(layout: Layout, names?: readonly string[]): LoadedPlugins {
  const found = new Map(discoverAll(layout).map((plugin) => [plugin.name, plugin]));
  const unusable = new Map<string, string>();
  const loaded = new Map<string, StatePlugin>();
  // A plugin's dependencies decide whether it can be used: they are looked at with it.
  const seen = new Set(names ?? found.keys());
  for (const name of seen) {
    const plugin = found.get(name);
    if (!plugin) continue;
    const result = plugin.manifest === null ? plugin.reason : load(plugin);
    if (typeof result === "string") unusable.set(name, result);
    else {
      loaded.set(name, result);
      for (const other of result.dependencies) seen.add(other);
    }
  }
  const ordered = orderPlugins(loaded, unusable);
  for (const name of names ?? []) {
    if (loaded.has(name)) continue;
    const reason = unusable.get(name);
    throw reason === undefined
      ? notInstalled(name, [...found.keys()])
      : unusablePlugin(name, reason);
  }
  return {
    plugins: names ? ordered.filter(({ name }) => names.includes(name)) : ordered,
    unusable,
  };
}

/**
 * In dependency order. Those that lead back to themselves have none, so they are moved
 * to the unusable ones; what depends on them does not.
 */
function orderPlugins(
  loaded: Map<string, StatePlugin>,
  unusable: Map<string, string>,
): StatePlugin[] {
  const after = (name: string) => loaded.get(name)?.dependencies ?? [];
  let { ordered, cycle } = orderByDependency([...loaded.keys()], after);
  if (cycle) {
    const members = [...loaded.keys()].flatMap((name) => {
      const path = cycleThrough(name, after);
      return path ? [{ name, path }] : [];
    });
    for (const { name, path } of members) {
      loaded.delete(name);
      unusable.set(
        name,
        `its dependencies lead back to it (${path.join(" -> ")}): ` +
          "take one of them out of its plugin.toml",
      );
    }
    ({ ordered } = orderByDependency([...loaded.keys()], after));
  }
  return ordered.map((name) => loaded.get(name)!);
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

/** The error for a plugin that is there, and of no use. */
export function unusablePlugin(name: string, reason: string): OpError {
  return new OpError(
    "unusable_plugin",
    `The plugin ${name} is installed, but cannot be used: ${reason}`,
    { hint: `mend it or install it again; see: op-dbus plugin show ${name}` },
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
