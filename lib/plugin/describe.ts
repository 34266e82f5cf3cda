/** Everything about one plugin, for `plugin show`. */
import type { Layout } from "../base/layout.ts";
import { discoverOne } from "./discovery.ts";
import { dependentsOf, livePlugins, previousPlugin } from "./installed.ts";
import { mappingOf } from "./mapping_file.ts";
import { readMarker } from "./marker.ts";
import { powersOf } from "./package.ts";
import { lackingRequirements, thisHost } from "./requirements.ts";
import { readRecord, storedVersions } from "./version_store.ts";

/** The names are those of `--json`. */
export async function describePlugin(layout: Layout, name: string) {
  const plugin = discoverOne(layout, name);
  const manifest = plugin.manifest;
  const marker = manifest ? readMarker(plugin.folder) : null;
  const record = marker && readRecord(layout, { name, version: marker.version });
  const previous = previousPlugin(layout, name);
  const mapping = manifest ? mappingOf(plugin.folder) : null;
  const powers = powersOf(mapping);
  const lacking = manifest && await lackingRequirements(manifest, mapping, thisHost());
  return {
    name,
    folder: plugin.folder,
    status: manifest ? "ok" : "broken",
    reason: plugin.manifest ? null : plugin.reason,
    warnings: plugin.manifest ? plugin.warnings : [],
    manifest,
    missing: lacking?.missing ?? [],
    unknown: lacking?.unknown ?? [],
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
