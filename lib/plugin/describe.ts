/** Everything about one plugin, for `plugin show`. */
import { isSysError } from "../../ffi/errno.ts";
import type { Layout } from "../base/layout.ts";
import { discoverOne } from "./discovery.ts";
import { dependentsOf, livePlugins, previousPlugin } from "./installed.ts";
import { checkMapping, type Mapping, MAX_MAPPING_BYTES } from "./mapping.ts";
import { readMarker } from "./marker.ts";
import { powersOf } from "./package.ts";
import { PluginFolder } from "./plugin_files.ts";
import { missingRequirements, thisHost } from "./requirements.ts";
import { MAPPING_FILE } from "./validate.ts";
import { readRecord, storedVersions } from "./version_store.ts";

/** The names are those of `--json`. */
export function describePlugin(layout: Layout, name: string) {
  const plugin = discoverOne(layout, name);
  const manifest = plugin.manifest;
  const marker = manifest ? readMarker(plugin.folder) : null;
  const record = marker && readRecord(layout, { name, version: marker.version });
  const previous = previousPlugin(layout, name);
  const powers = powersOf(manifest ? mappingOf(plugin.folder) : null);
  return {
    name,
    folder: plugin.folder,
    status: manifest ? "ok" : "broken",
    reason: plugin.manifest ? null : plugin.reason,
    warnings: plugin.manifest ? plugin.warnings : [],
    manifest,
    missing: manifest ? missingRequirements(manifest, thisHost()) : [],
    dependents: dependentsOf(livePlugins(layout), name).map((one) => one.name),
    active: marker && {
      version: marker.version,
      tree: marker.tree,
      activated: marker.activated,
      source: record?.source ?? "unknown",
      signed_by: record?.signed_by ?? null,
      package_sha256: record?.sha256 ?? null,
    },
    previous: previous
      ? previous.marker?.version ?? previous.manifest?.version ?? "unversioned"
      : null,
    versions: storedVersions(layout, name).map(({ version, record }) => ({
      version,
      verified: record !== null,
      signed_by: record?.signed_by ?? null,
      source: record?.source ?? null,
      installed: record?.installed ?? null,
    })),
    powers: {
      bus_names: powers.busNames,
      unsafe_methods: powers.unsafeMethods,
      safe_methods: powers.safeMethods,
    },
  };
}

/** A plugin's mapping; null where it has none or a broken one. */
function mappingOf(folder: string): Mapping | null {
  try {
    using files = new PluginFolder(folder);
    const text = files.readText(MAPPING_FILE, MAX_MAPPING_BYTES);
    return text === null ? null : checkMapping(text, MAPPING_FILE).mapping ?? null;
  } catch (error) {
    if (error instanceof TypeError || isSysError(error)) return null;
    throw error;
  }
}
