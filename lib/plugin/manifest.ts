/** plugin.toml: read with all its problems at once, and written. */
import { stringify } from "smol-toml";
import { checkAgainst, type Checked, parseToml, type TomlDocument } from "./toml.ts";
import type { KeyPath } from "../base/toml_positions.ts";
import { type Manifest, PluginTableSchema } from "./manifest_schema.ts";
import { InvalidFileError, type Problem } from "./problems.ts";
import { parseNameRange } from "./names.ts";

export type { Manifest } from "./manifest_schema.ts";

/** The manifest's file name in a plugin's folder. */
export const MANIFEST_FILE = "plugin.toml";

/** Tables that may stand at the top, beside `[plugin]`. */
const TOP_TABLES = ["capabilities", "requires"];

/**
 * Reads a plugin.toml, with or without the `[plugin]` table.
 *
 * @param text its content
 * @param file how to call it in messages
 * @returns the manifest, or null; and every problem found
 */
export function parseManifest(text: string, file = MANIFEST_FILE): Checked<Manifest> {
  let document: TomlDocument;
  try {
    document = parseToml(text, file);
  } catch (error) {
    if (!(error instanceof InvalidFileError)) throw error;
    return { value: null, problems: error.problems };
  }
  const { input, place, extra } = flatten(document);
  const checked = checkAgainst(PluginTableSchema, input, document, place);
  const found = [...extra, ...checked.problems];
  if (checked.value) found.push(...dependencyProblems(checked.value, document, place));
  const failed = found.some((p) => p.severity === "error");
  return { value: failed ? null : checked.value, problems: found };
}

/** {@link parseManifest} that throws. @throws {InvalidFileError} with every problem */
export function requireManifest(text: string, file = MANIFEST_FILE): Manifest {
  const { value, problems } = parseManifest(text, file);
  if (!value) throw new InvalidFileError(problems);
  return value;
}

/** Both styles as one: the keys of `[plugin]` and the tables beside it. */
function flatten(document: TomlDocument): {
  input: unknown;
  place: (path: KeyPath) => KeyPath;
  extra: Problem[];
} {
  const top = document.value;
  if (!("plugin" in top)) return { input: top, place: (path) => path, extra: [] };
  const table = top.plugin;
  if (typeof table !== "object" || table === null || Array.isArray(table)) {
    const message = "must be a table: [plugin]";
    return {
      input: {},
      place: () => ["plugin"],
      extra: [document.problem(["plugin"], message)],
    };
  }
  const input: Record<string, unknown> = { ...table };
  const outside = new Set<string>();
  const extra: Problem[] = [];
  for (const key of Object.keys(top)) {
    if (key === "plugin") continue;
    if (TOP_TABLES.includes(key) && !(key in input)) {
      input[key] = top[key];
      outside.add(key);
    } else {
      const where = TOP_TABLES.includes(key) ? "stands in [plugin] too" : "unknown key";
      extra.push(document.problem([key], where, "warning"));
    }
  }
  const place = (path: KeyPath) =>
    outside.has(String(path[0])) ? path : ["plugin", ...path];
  return { input, place, extra };
}

function dependencyProblems(
  manifest: Manifest,
  document: TomlDocument,
  place: (path: KeyPath) => KeyPath,
): Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  manifest.dependencies.forEach((dependency, i) => {
    const { name } = parseNameRange(dependency)!;
    const path = place(["dependencies", i]);
    if (name === manifest.name) {
      problems.push(document.problem(path, "a plugin cannot depend on itself"));
    } else if (seen.has(name)) {
      problems.push(document.problem(path, `${name} stands here twice`));
    }
    seen.add(name);
  });
  return problems;
}

/** A manifest as it may be given for writing: what is default may be left out. */
export type ManifestInput =
  & Pick<Manifest, "name" | "version" | "author">
  & Partial<Omit<Manifest, "capabilities">>
  & { readonly capabilities?: Partial<Manifest["capabilities"]> };

/** A plugin.toml in the style of the documentation; comments in it are the caller's. */
export function formatManifest(manifest: ManifestInput): string {
  const { capabilities, requires, ...plugin } = manifest;
  const entries = Object.entries(plugin).filter(([, value]) => value !== undefined);
  const document: Record<string, unknown> = { plugin: Object.fromEntries(entries) };
  if (requires && Object.keys(requires).length > 0) {
    document.plugin = { ...(document.plugin as object), requires };
  }
  if (capabilities) document.capabilities = capabilities;
  return stringify(document) + (stringify(document).endsWith("\n") ? "" : "\n");
}
