/** The plugins under the root: each `@plugin-*` folder, whole or broken. */
import { isSysError } from "../../ffi/errno.ts";
import { DT_DIR, DT_UNKNOWN, listFolder } from "../../ffi/directory.ts";
import { asOpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import { isPluginName, NAME_RULE } from "./names.ts";
import { asPlainLine } from "./plain_text.ts";
import { PluginFolder } from "./plugin_files.ts";
import { formatProblem } from "./problems.ts";
import { MAX_TOML_BYTES } from "./toml.ts";

/** A plugin that can be used. */
export interface HealthyPlugin {
  readonly name: string;
  /** Absolute path. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** Warnings about its manifest, as lines. */
  readonly warnings: readonly string[];
}

/** A plugin that cannot be used, and why. */
export interface BrokenPlugin {
  /** What follows `@plugin-`; safe to print. */
  readonly name: string;
  readonly folder: string;
  readonly manifest: null;
  /** One line. */
  readonly reason: string;
}

export type DiscoveredPlugin = HealthyPlugin | BrokenPlugin;

const PREFIX = "@plugin-";

/**
 * Every plugin under the root, by name. A broken one hides no other.
 * @throws {SysError} only when the root itself cannot be read
 */
export function discover(layout: Layout): DiscoveredPlugin[] {
  const names: string[] = [];
  for (const entry of listFolder(layout.root)) {
    if (entry.type !== DT_DIR && entry.type !== DT_UNKNOWN) continue;
    const text = new TextDecoder().decode(entry.name);
    if (text.startsWith(PREFIX) && text !== "@plugin-snapshots") {
      names.push(text.slice(PREFIX.length));
    }
  }
  return names.sort().map((name) => discoverOne(layout, name));
}

/** One plugin; `reason` says so where there is none. */
export function discoverOne(layout: Layout, name: string): DiscoveredPlugin {
  const folder = layout.plugin(name);
  const broken = (reason: string): BrokenPlugin => ({
    name: asPlainLine(name),
    folder: asPlainLine(folder),
    manifest: null,
    reason,
  });
  if (!isPluginName(name)) return broken(`the name is not ${NAME_RULE}`);
  let text: string | null;
  try {
    using files = new PluginFolder(folder);
    text = files.readText(MANIFEST_FILE, MAX_TOML_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return broken("it is not installed");
    if (error instanceof TypeError) return broken(`${MANIFEST_FILE} is not UTF-8`);
    return broken(asOpError(error, `Cannot read ${MANIFEST_FILE}`).message);
  }
  if (text === null) return broken(`there is no ${MANIFEST_FILE}`);
  const { value, problems } = parseManifest(text, MANIFEST_FILE);
  if (!value) {
    const errors = problems.filter((p) => p.severity === "error");
    const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
    return broken(asPlainLine(formatProblem(errors[0]!)) + more);
  }
  if (value.name !== name) return broken(`its ${MANIFEST_FILE} is of ${value.name}`);
  const warnings = problems.map((problem) => asPlainLine(formatProblem(problem)));
  return { name, folder, manifest: value, warnings };
}

/** The plugins that can be used. */
export function healthyPlugins(layout: Layout): HealthyPlugin[] {
  return discover(layout).filter((plugin): plugin is HealthyPlugin =>
    plugin.manifest !== null
  );
}
