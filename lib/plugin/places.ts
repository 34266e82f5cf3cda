/** Names of a plugin's folders under the root, and what may be left of interrupted work. */
import type { Layout } from "../base/layout.ts";
import { type NameVersion, snapshotName } from "./names.ts";

/** `@plugin-lxc`: the live plugin. */
export function livePath(layout: Layout, name: string): string {
  return layout.plugin(name);
}

/** `@previous-lxc`: what was live before, with its state; rollback exchanges the two. */
export function previousPath(layout: Layout, name: string): string {
  return `${layout.root}/@previous-${name}`;
}

/** `.new-lxc`: what becomes live next, beside it because an exchange wants one folder. */
export function newPath(layout: Layout, name: string): string {
  return `${layout.root}/.new-${name}`;
}

/** `.gone-lxc`: what is being deleted for good. */
export function gonePath(layout: Layout, name: string): string {
  return `${layout.root}/.gone-${name}`;
}

/** `@plugin-snapshots/lxc@v1.2.0`: a version, read-only. */
export function versionPath(layout: Layout, version: NameVersion): string {
  return `${layout.pluginSnapshots}/${snapshotName(version)}`;
}

/** `meta/plugins/lxc/1.2.0.json`: what was verified of a version. */
export function recordPath(layout: Layout, { name, version }: NameVersion): string {
  return `${layout.meta}/plugins/${name}/${version}.json`;
}

/** `meta/plugin-transaction.json`: what has been decided and not finished. */
export function transactionPath(layout: Layout): string {
  return `${layout.meta}/plugin-transaction.json`;
}

/** `meta/op-dbus.lock`: the versions in use and their digests. */
export function lockFilePath(layout: Layout): string {
  return `${layout.meta}/op-dbus.lock`;
}

/** `meta/downloads`: packages under way; each is called after its SHA-256. */
export function downloadsPath(layout: Layout): string {
  return `${layout.meta}/downloads`;
}
