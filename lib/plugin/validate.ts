/** Everything that is wrong with a plugin's folder, at once. */
import { asOpError, InputError } from "../base/errors.ts";
import { DT_REG, listFd } from "../../ffi/directory.ts";
import { O_DIRECTORY, O_RDONLY, openBeneath, withFd } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import { checkMapping, type Mapping, MAX_MAPPING_BYTES } from "./mapping.ts";
import { asPlainLine } from "./plain_text.ts";
import { PluginFolder } from "./plugin_files.ts";
import type { Problem } from "./problems.ts";
import { MAX_TOML_BYTES } from "./toml.ts";
import { positionAt } from "../base/toml_positions.ts";

/** The mapping's file name in a plugin's folder. */
export const MAPPING_FILE = "semantic-mapping.toml";
const EXAMPLES = "examples";
const MAX_EXAMPLE_BYTES = 1024 * 1024;
const MAX_EXAMPLES = 100;

/** What a look at a folder found. */
export interface Validation {
  readonly manifest: Manifest | null;
  readonly mapping: Mapping | null;
  readonly problems: readonly Problem[];
  /** No problem is an error. */
  readonly valid: boolean;
}

/**
 * Validates a plugin's folder: manifest, mapping, examples, listed configuration.
 *
 * @param path the folder
 * @throws {InputError} when there is no such folder
 */
export function validatePlugin(path: string): Validation {
  let opened: PluginFolder;
  try {
    opened = new PluginFolder(path);
  } catch (error) {
    const { message } = asOpError(error);
    throw new InputError("not_a_plugin", `Cannot open the plugin ${path}: ${message}`, {
      cause: error,
      hint: "name the folder that holds plugin.toml",
    });
  }
  using folder = opened;
  const problems: Problem[] = [];
  let manifest: Manifest | null = null, mapping: Mapping | null = null;
  const manifestText = read(folder, MANIFEST_FILE, MAX_TOML_BYTES, problems);
  if (manifestText === null) problems.push(whole(MANIFEST_FILE, "is missing"));
  else if (manifestText !== undefined) {
    const checked = parseManifest(manifestText, MANIFEST_FILE);
    manifest = checked.value;
    problems.push(...checked.problems);
  }
  const mappingText = read(folder, MAPPING_FILE, MAX_MAPPING_BYTES, problems);
  if (mappingText === null) {
    problems.push(whole(MAPPING_FILE, "is missing: nothing can be applied", "warning"));
  } else if (mappingText !== undefined) {
    const checked = checkMapping(mappingText, MAPPING_FILE);
    mapping = checked.mapping ?? null;
    problems.push(...checked.problems);
  }
  if (manifest) problems.push(...configProblems(folder, manifest));
  problems.push(...exampleProblems(folder, manifest));
  const valid = !problems.some((problem) => problem.severity === "error");
  return { manifest, mapping, problems, valid };
}

function whole(
  file: string,
  message: string,
  severity: Problem["severity"] = "error",
): Problem {
  return { file, line: 0, column: 0, key: "", severity, message };
}

/** The text; null where the file is missing, undefined where it is unreadable. */
function read(
  folder: PluginFolder,
  file: string,
  limitBytes: number,
  problems: Problem[],
): string | null | undefined {
  try {
    return folder.readText(file, limitBytes);
  } catch (error) {
    const why = error instanceof TypeError ? "is not UTF-8" : asOpError(error).message;
    problems.push(whole(file, why));
    return undefined;
  }
}

function configProblems(folder: PluginFolder, manifest: Manifest): Problem[] {
  return manifest.config.flatMap((path) => {
    try {
      withFd(openBeneath(folder.fd, path, O_RDONLY), () => {});
      return [];
    } catch (error) {
      if (!isSysError(error, "ENOENT", "ENOTDIR")) throw error;
      const message = `lists ${path} as configuration, which is not there`;
      return [whole(MANIFEST_FILE, message, "warning")];
    }
  });
}

function exampleProblems(folder: PluginFolder, manifest: Manifest | null): Problem[] {
  const problems: Problem[] = [];
  for (const name of exampleNames(folder).slice(0, MAX_EXAMPLES)) {
    const file = `${EXAMPLES}/${name}`;
    const text = read(folder, file, MAX_EXAMPLE_BYTES, problems);
    if (typeof text !== "string") continue;
    try {
      const state = JSON.parse(text);
      const known = manifest && typeof state?.plugins === "object" && state.plugins;
      if (known && !Object.hasOwn(known, manifest.name)) {
        problems.push(whole(file, `says nothing about ${manifest.name}`, "warning"));
      }
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      // V8 tells the place of some errors only.
      const offset = / at position (\d+)/.exec(error.message)?.[1];
      const place = offset === undefined ? {} : positionAt(text, Number(offset));
      const why = asPlainLine(error.message.replace(/( in JSON)? at position.*$/s, ""));
      problems.push({ ...whole(file, `is not JSON: ${why}`), ...place });
    }
  }
  return problems;
}

function exampleNames(folder: PluginFolder): string[] {
  let fd: number;
  try {
    fd = openBeneath(folder.fd, EXAMPLES, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR", "ELOOP")) return [];
    throw error;
  }
  return withFd(fd, () =>
    listFd(fd, EXAMPLES).filter((entry) => entry.type === DT_REG)
      .map((entry) => new TextDecoder().decode(entry.name))
      .filter((name) => name.endsWith(".json"))).sort();
}
