/**
 * The names on this host that a shell may complete: plugins, versions, snapshots, models,
 * repositories. Read straight from the folders' names: a Tab must be quick and must not
 * wait for locks. What cannot be read offers nothing, because there is nobody to tell.
 */
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { type Config, loadConfig } from "../base/config.ts";
import { OpError } from "../base/errors.ts";
import { Layout } from "../base/layout.ts";
import { allTargets, findTarget } from "../snapshot/target.ts";

/** What is being completed. */
export interface Wanted {
  /** The command's words: `["snapshot", "restore"]`. */
  readonly path: readonly string[];
  /** Name of the flag whose value it is; empty for an argument. */
  readonly flag: string;
  readonly placeholder: string;
  /** Values of the flags before it. */
  readonly values: ReadonlyMap<string, string>;
}

/** More names than anyone would look through. */
const MAX_NAMES = 1000;
const MAX_LIST_BYTES = 1024 * 1024;
/** A larger index is not worth the wait at a Tab. */
const MAX_ACCEPTED_BYTES = 16 * 1024 * 1024;

/** Finds the names for one place of the command line. */
export function namesFor(wanted: Wanted): string[] {
  const config = configOf(wanted.values);
  if (!config) return [];
  const layout = new Layout(config.get("root"));
  try {
    const names = lister(wanted)?.(layout, config, wanted.values) ?? [];
    return names.sort().slice(0, MAX_NAMES);
  } catch (error) {
    if (error instanceof OpError || isSysError(error)) return [];
    throw error;
  }
}

type Lister = (
  layout: Layout,
  config: Config,
  values: ReadonlyMap<string, string>,
) => string[];

function lister({ path, flag, placeholder }: Wanted): Lister | undefined {
  if (flag === "model") return models;
  if (flag === "plugin") return plugins;
  if (flag === "target" || /^TARGET/.test(placeholder)) return targets;
  if (flag === "parent" || flag === "snapshot") return snapshots;
  if (flag === "" && placeholder === "WHAT") return offered;
  if (flag !== "" || !/NAME/.test(placeholder)) return undefined;
  const [noun, verb] = path;
  if (noun === "snapshot") return snapshots;
  if (noun === "model") return models;
  if (noun === "repo") return repositories;
  if (noun !== "plugin") return undefined;
  return /VERSION/.test(placeholder) || verb === "activate" ? versions : plugins;
}

function configOf(values: ReadonlyMap<string, string>): Config | undefined {
  const root = values.get("root");
  try {
    return loadConfig({
      flags: { ...(root !== undefined && { root }) },
      path: values.get("config"),
      env: Deno.env.toObject(),
    });
  } catch (error) {
    // A wrong configuration is the next command's to report, not Tab's.
    if (error instanceof OpError) return undefined;
    throw error;
  }
}

/** Names in a folder; none where it is not there or may not be read. */
function names(folder: string): string[] {
  try {
    return listFolder(folder).map(({ name }) => new TextDecoder().decode(name));
  } catch (error) {
    if (isSysError(error)) return [];
    throw error;
  }
}

const PLUGIN = "@plugin-";

const plugins: Lister = ({ root }) =>
  names(root).filter((name) => name.startsWith(PLUGIN) && name !== "@plugin-snapshots")
    .map((name) => name.slice(PLUGIN.length));

/** `lxc@v1.2.0` on disk is `lxc@1.2.0` on the command line. */
const versions: Lister = ({ pluginSnapshots }) =>
  names(pluginSnapshots).map((name) => name.replace("@v", "@"));

const models: Lister = (layout) => ["builtin", ...names(layout.models)];

const snapshots: Lister = (layout, config, values) => {
  const { folder, prefix } = findTarget(layout, config, values.get("target") ?? "cache");
  return names(folder).filter((name) => name.startsWith(`${prefix}@`));
};

const targets: Lister = (layout, config) =>
  allTargets(layout, config).map(({ name }) => name);

/** Names out of one of our own JSON files; none where it is not there or is damaged. */
function namesIn(path: string, limitBytes: number, find: (file: never) => string[]) {
  try {
    return find(JSON.parse(readTextFile(path, limitBytes)) as never);
  } catch (error) {
    if (isSysError(error) || error instanceof SyntaxError || error instanceof TypeError) {
      return [];
    }
    throw error;
  }
}

const repositories: Lister = ({ meta }) =>
  namesIn(
    `${meta}/repositories.json`,
    MAX_LIST_BYTES,
    (file: { repositories: { name: string }[] }) =>
      file.repositories.map(({ name }) => name),
  );

/** Plugins of the repositories, as their last accepted indexes have them. */
const offered: Lister = (layout, config, values) => {
  const found = repositories(layout, config, values).flatMap((name) =>
    namesIn(
      `${layout.meta}/repositories/${name}.json`,
      MAX_ACCEPTED_BYTES,
      (file: { index: { plugins: object } }) => Object.keys(file.index.plugins),
    )
  );
  return [...new Set(found)];
};
