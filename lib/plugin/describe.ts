/** Everything about one plugin, for `plugin show`. */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { discoverOne } from "./discovery.ts";
import { dependentsOf, livePlugins, previousPlugin } from "./installed.ts";
import { mappingOf } from "./mapping_file.ts";
import { readMarker } from "./marker.ts";
import { powersOf } from "./package.ts";
import { lackingRequirements, thisHost } from "./requirements.ts";
import { readRecord, storedVersions } from "./version_store.ts";

/**
 * The names are those of `--json`.
 * @throws {InputError} `not_installed` where nothing at all is here of it
 */
export async function describePlugin(layout: Layout, name: string) {
  const plugin = discoverOne(layout, name);
  const manifest = plugin.manifest;
  const marker = manifest ? readMarker(plugin.folder) : null;
  const record = marker && readRecord(layout, { name, version: marker.version });
  const previous = previousPlugin(layout, name);
  const stored = storedVersions(layout, name);
  if (!manifest && !previous && stored.length === 0 && isAbsent(plugin.folder)) {
    throw new InputError("not_installed", `${name} is not installed`, {
      hint: "see what is with: op-dbus plugin list",
    });
  }
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
    versions: stored.map(({ version, record }) => ({
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

function isAbsent(path: string): boolean {
  try {
    statAt(AT_FDCWD, path);
    return false;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return true;
    throw error;
  }
}
