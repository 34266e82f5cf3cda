/** What is live, what was live before, and who depends on whom. */
import type { Layout } from "../base/layout.ts";
import { discoverOne, type HealthyPlugin, healthyPlugins } from "./discovery.ts";
import { type Marker, readMarker } from "./marker.ts";
import { type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import { type NameRange, parseNameRange } from "./names.ts";
import { previousPath } from "./places.ts";
import { PluginFolder } from "./plugin_files.ts";
import { MAX_TOML_BYTES } from "./toml.ts";
import { inRange } from "./versions.ts";
import { isSysError } from "../../ffi/errno.ts";

/** A plugin that is live. */
export interface LivePlugin extends HealthyPlugin {
  /** The version it was made from; null for a folder that its author made here. */
  readonly marker: Marker | null;
  readonly dependencies: readonly NameRange[];
}

/** The dependencies of a manifest, taken apart. */
export function dependenciesOf(manifest: Manifest): NameRange[] {
  return manifest.dependencies.map((text) => parseNameRange(text)!);
}

/** The live plugins that can be used, by name. */
export function livePlugins(layout: Layout): LivePlugin[] {
  return healthyPlugins(layout).map((plugin) => withMarker(plugin));
}

/** One live plugin; null where there is none or it is broken. */
export function livePlugin(layout: Layout, name: string): LivePlugin | null {
  const plugin = discoverOne(layout, name);
  return plugin.manifest ? withMarker(plugin) : null;
}

function withMarker(plugin: HealthyPlugin): LivePlugin {
  const dependencies = dependenciesOf(plugin.manifest);
  return { ...plugin, marker: readMarker(plugin.folder), dependencies };
}

/** The manifest of a tree; null where it has none that can be read. */
export function manifestOf(path: string): Manifest | null {
  let text: string | null;
  try {
    using folder = new PluginFolder(path);
    text = folder.readText(MANIFEST_FILE, MAX_TOML_BYTES);
  } catch (error) {
    if (error instanceof TypeError || isSysError(error)) return null;
    throw error;
  }
  return text === null ? null : parseManifest(text).value;
}

/** What was live before the last change; null where there is nothing to go back to. */
export function previousPlugin(
  layout: Layout,
  name: string,
): { path: string; manifest: Manifest | null; marker: Marker | null } | null {
  const path = previousPath(layout, name);
  try {
    return { path, marker: readMarker(path), manifest: manifestOf(path) };
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}

/** Who of the live plugins depends on a plugin, and in which range. */
export function dependentsOf(
  plugins: readonly LivePlugin[],
  name: string,
): { name: string; range: string }[] {
  return plugins.flatMap((plugin) =>
    plugin.dependencies.filter((dependency) => dependency.name === name)
      .map(({ range }) => ({ name: plugin.name, range }))
  );
}

/** Dependencies that would not be met with the given versions, one line each. */
export function unmetDependencies(
  plugins: readonly {
    name: string;
    version: string;
    dependencies: readonly NameRange[];
  }[],
): string[] {
  const versions = new Map(plugins.map(({ name, version }) => [name, version]));
  return plugins.flatMap((plugin) =>
    plugin.dependencies.flatMap(({ name, range }) => {
      const version = versions.get(name);
      if (version !== undefined && inRange(version, range, true)) return [];
      const there = version === undefined ? "not there" : `${version} is`;
      return [
        `${plugin.name}@${plugin.version} wants ${name} ${range}, which is ${there}`,
      ];
    })
  );
}
