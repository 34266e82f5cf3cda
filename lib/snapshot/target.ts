/** What can be snapshotted: the root's own areas, plugins, and what the config names. */
import type { Config } from "../base/config.ts";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { nearest } from "../base/nearest.ts";
import { listFolder } from "../../ffi/directory.ts";

/** One subvolume with its own snapshot folder and policy. */
export interface Target {
  /** `cache`, `state`, `plugin-lxc`, `home`. */
  readonly name: string;
  /** The live subvolume. */
  readonly path: string;
  /** The folder that its snapshots lie in, on the same file system. */
  readonly folder: string;
  /** Its snapshots are called `<prefix>@<time>`. */
  readonly prefix: string;
  /** The name of its retention policy. */
  readonly policy: string;
  /** Snapshot it although the content of nested subvolumes would be missing. */
  readonly allowNested: boolean;
  /** SQLite databases to bring to rest first, relative to `path`. */
  readonly databases: readonly string[];
  /** The lock of whatever changes its snapshots. */
  readonly lock: string;
  /** The lock of whatever writes its content; null where nothing of ours does. */
  readonly writerLock: string | null;
}

const PLUGIN = "plugin-";
/** Names that start with `@plugin-` and are no plugin. */
const NOT_PLUGINS = new Set(["@plugin-snapshots"]);
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** The config's part that targets need. */
type Settings = Pick<Config, "get" | "table">;

function builtIn(layout: Layout, name: string): Target | null {
  const common = {
    name,
    policy: "",
    allowNested: false,
    databases: [],
    lock: layout.lock(`snapshot-${name}`),
    writerLock: null,
  };
  const own = (path: string) => ({
    ...common,
    path,
    folder: `${layout.root}/@${name}-snapshots`,
    prefix: name,
  });
  switch (name) {
    case "cache":
      return {
        ...own(layout.cache),
        databases: [layout.index.slice(layout.cache.length + 1)],
        writerLock: layout.lock("cache"),
      };
    case "state":
      return own(layout.state);
    case "timing":
      return own(layout.timing);
    case "vectors":
      return own(layout.chainVectors);
  }
  if (!name.startsWith(PLUGIN) || name.length === PLUGIN.length) return null;
  const plugin = name.slice(PLUGIN.length);
  return {
    ...common,
    path: layout.plugin(plugin),
    folder: layout.pluginSnapshots,
    prefix: plugin,
  };
}

/** Areas of the root that can be snapshotted, besides plugins. */
export const AREA_TARGETS = ["cache", "state", "timing", "vectors"] as const;

/**
 * A target by name.
 *
 * @throws {InputError} `unknown_target`, with the nearest one
 */
export function findTarget(layout: Layout, config: Settings, name: string): Target {
  const rows = config.table("snapshot.targets"), row = rows.get(name);
  const own = NAME.test(name) ? builtIn(layout, name) : null;
  const fallback = config.get("snapshot.policy");
  if (own) {
    return {
      ...own,
      policy: row?.policy || fallback,
      folder: row?.folder || own.folder,
      allowNested: row?.allow_nested ?? false,
    };
  }
  if (!row || !NAME.test(name)) throw unknownTarget(name, rows.keys());
  if (row.path === "") {
    throw new InputError("no_path", `Cannot snapshot ${name}: its target has no path`, {
      hint: `set path under [snapshot.targets.${name}]`,
    });
  }
  return {
    name,
    path: row.path,
    folder: row.folder || `${layout.root}/@${name}-snapshots`,
    prefix: name,
    policy: row.policy || fallback,
    allowNested: row.allow_nested,
    databases: [],
    lock: layout.lock(`snapshot-${name}`),
    writerLock: null,
  };
}

function unknownTarget(name: string, configured: Iterable<string>): InputError {
  const known = [...AREA_TARGETS, ...configured];
  const guess = nearest(name, known);
  return new InputError("unknown_target", `Cannot snapshot ${name}: no such target`, {
    hint: guess ? `did you mean ${guess}?` : `the targets are ${known.join(", ")} and ` +
      "plugin-NAME; add others under [snapshot.targets.NAME]",
  });
}

/** Every target there is now: areas, installed plugins, configured ones. */
export function allTargets(layout: Layout, config: Settings): Target[] {
  const plugins = listFolder(layout.root)
    .map(({ name }) => new TextDecoder().decode(name))
    .filter((name) => name.startsWith(`@${PLUGIN}`) && !NOT_PLUGINS.has(name))
    .map((name) => name.slice(1)).sort();
  const names = [...AREA_TARGETS, ...plugins, ...config.table("snapshot.targets").keys()];
  return [...new Set(names)].map((name) => findTarget(layout, config, name));
}

/**
 * The target that a snapshot's name belongs to: `state@2025-...` is one of `state`,
 * `lxc@2025-...` one of `plugin-lxc`.
 *
 * @returns null when no target has that prefix
 */
export function targetOfName(
  layout: Layout,
  config: Settings,
  name: string,
): Target | null {
  const at = name.indexOf("@");
  if (at < 0) return null;
  const prefix = name.slice(0, at);
  return allTargets(layout, config).find((target) => target.prefix === prefix) ?? null;
}
