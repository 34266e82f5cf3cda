/** Writing the README files of a repository, leaving alone what a person wrote. */
import { writeDurably } from "../base/durable.ts";
import type { BuiltIndex, RepositoryFile } from "./index_build.ts";
import { PluginFolder } from "./plugin_files.ts";
import { GENERATED, pluginReadme, repositoryReadme } from "./readme.ts";

const FILE = "README.md";
const MAX_README_BYTES = 1024 * 1024;

/**
 * Writes README.md for the repository and for each plugin in it.
 * @returns the files that were written; one that a person wrote is not among them
 */
export function writeReadmes(
  folder: string,
  facts: RepositoryFile,
  { index, contents }: BuiltIndex,
): string[] {
  const written: string[] = [];
  const put = (path: string, text: string) => {
    if (isPersons(path)) return;
    writeDurably(`${path}/${FILE}`, new TextEncoder().encode(text));
    written.push(`${path}/${FILE}`);
  };
  for (const [name, { versions }] of Object.entries(index.plugins)) {
    const newest = versions[0] && contents.get(`${name}@${versions[0].version}`);
    if (!newest) continue;
    const { manifest, mapping } = newest;
    const all = versions.map((entry) => entry.version);
    put(`${folder}/${name}`, pluginReadme(manifest, mapping, all));
  }
  put(folder, repositoryReadme(facts, index));
  return written;
}

function isPersons(path: string): boolean {
  using folder = new PluginFolder(path);
  const text = folder.readText(FILE, MAX_README_BYTES);
  return text !== null && !text.startsWith(GENERATED);
}
