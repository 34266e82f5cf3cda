/** Roots with plugins in them, on whatever file system the root is. */
import { Layout } from "../../lib/base/layout.ts";
import type { RecordedAction } from "../../lib/base/recorder.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { commit, recover, type Workplace } from "../../lib/plugin/transaction.ts";
import { prepareActivation } from "../../lib/plugin/activate.ts";
import { ensureFolder } from "../../lib/plugin/json_file.ts";
import { versionPath } from "../../lib/plugin/places.ts";
import { TreeStore } from "../../lib/plugin/store.ts";
import { writeRecord } from "../../lib/plugin/version_store.ts";
import { createSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";

/** Content of a tree: text by path; a path that ends in a slash is a folder. */
export type Tree = Record<string, string>;

/** A place to work in, with the records that the chain would get. */
export interface TestPlace extends Workplace {
  readonly records: RecordedAction[];
}

export function testPlace(root: string): TestPlace {
  const layout = new Layout(root);
  ensureFolder(layout.meta);
  ensureFolder(layout.pluginSnapshots);
  const records: RecordedAction[] = [];
  const recorder = {
    record: (action: RecordedAction) => {
      records.push(action);
      return Promise.resolve();
    },
  };
  return { layout, store: new TreeStore(root), recorder, records };
}

/** A manifest's text. */
export function manifestText(name: string, version: string, more = ""): string {
  return `name = "${name}"\nversion = "${version}"\nauthor = "me"\n${more}`;
}

export function writeTree(path: string, tree: Tree): void {
  for (const [name, text] of Object.entries(tree)) {
    const at = `${path}/${name}`;
    Deno.mkdirSync(name.endsWith("/") ? at : at.slice(0, at.lastIndexOf("/")), {
      recursive: true,
    });
    if (!name.endsWith("/")) Deno.writeTextFileSync(at, text);
  }
}

/** Everything under a folder but the marker, as a {@link Tree}. */
export function readTree(path: string, prefix = ""): Tree {
  const tree: Tree = {};
  for (const entry of [...Deno.readDirSync(`${path}/${prefix}`)]) {
    const name = prefix + entry.name;
    if (name === ".op-dbus.json") continue;
    if (entry.isDirectory) {
      const inner = readTree(path, `${name}/`);
      if (Object.keys(inner).length === 0) tree[`${name}/`] = "";
      Object.assign(tree, inner);
    } else if (entry.isSymlink) tree[name] = `-> ${Deno.readLinkSync(`${path}/${name}`)}`;
    else tree[name] = Deno.readTextFileSync(`${path}/${name}`);
  }
  return Object.fromEntries(Object.entries(tree).sort(([a], [b]) => a < b ? -1 : 1));
}

/** A version as if it had been installed from a package. */
export function addVersion(
  place: Workplace,
  name: string,
  version: string,
  tree: Tree = {},
  more = "",
): void {
  const path = versionPath(place.layout, { name, version });
  if (place.store.kind === "btrfs") {
    withFd(
      openFolder(place.layout.pluginSnapshots),
      (fd) => createSubvolume(fd, `${name}@v${version}`),
    );
  } else Deno.mkdirSync(path);
  writeTree(path, { "plugin.toml": manifestText(name, version, more), ...tree });
  place.store.freeze(path);
  writeRecord(place.layout, {
    name,
    version,
    tree: digestOfFolder(path),
    sha256: null,
    signed_by: null,
    source: "test",
    installed: "2026-01-01T00:00:00Z",
    identity: place.store.identity(path)!,
    stream: null,
  });
}

/** Makes a version live, in one go. */
export async function activate(place: Workplace, name: string, version: string) {
  await recover(place);
  const prepared = prepareActivation(place, { name, version }, "activate");
  await commit(place, [prepared.step], [{
    ...prepared.record,
    data: { ...prepared.record.data },
  }]);
  return prepared.report;
}
