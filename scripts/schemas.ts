/**
 * Writes schemas/*.schema.json from the definitions that op-dbus itself checks with.
 * `--check` writes nothing and fails where a file is out of date.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
import { IndexSchema } from "../lib/plugin/index_schema.ts";
import { RepositoryFileSchema } from "../lib/plugin/index_build.ts";
import { LockFileSchema } from "../lib/plugin/lockfile.ts";
import { ManifestFileSchema, PluginTableSchema } from "../lib/plugin/manifest_schema.ts";
import { MappingSchema } from "../lib/plugin/mapping_schema.ts";
import { StateFileSchema } from "../lib/state/document.ts";

const FOLDER = new URL("../schemas/", import.meta.url);

type JsonSchema = Record<string, unknown>;

/** Rules that JSON Schema cannot say are left to op-dbus itself. */
function convert(schema: GenericSchema): JsonSchema {
  const { $schema: _, ...rest } = toJsonSchema(schema, {
    typeMode: "input",
    errorMode: "ignore",
  });
  return rest as JsonSchema;
}

function document(title: string, schema: JsonSchema): string {
  const { title: _, ...rest } = schema;
  const $schema = "http://json-schema.org/draft-07/schema#";
  return JSON.stringify({ $schema, title, ...rest }, null, 2) + "\n";
}

/** Every schema file's name and text. */
export function schemas(): Map<string, string> {
  const manifest = {
    description: "With the [plugin] table, or with its keys at the top",
    anyOf: [convert(ManifestFileSchema), convert(PluginTableSchema)],
  };
  return new Map([
    ["plugin", document("op-dbus plugin.toml", manifest)],
    [
      "semantic-mapping",
      document("op-dbus semantic-mapping.toml", convert(MappingSchema)),
    ],
    ["index", document("op-dbus repository index.json", convert(IndexSchema))],
    [
      "repository",
      document("op-dbus repository.toml", convert(RepositoryFileSchema)),
    ],
    ["lock", document("op-dbus.lock", convert(LockFileSchema))],
    ["state", document("op-dbus state file", convert(StateFileSchema))],
  ].map(([name, text]) => [`${name}.schema.json`, text!]));
}

function main(args: readonly string[]): number {
  const check = args.includes("--check");
  let stale = 0;
  Deno.mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of schemas()) {
    const path = new URL(name, FOLDER);
    const before = readIfThere(path);
    if (before === text) continue;
    stale++;
    if (!check) Deno.writeTextFileSync(path, text);
    console.log(`${check ? "out of date" : "wrote"}: schemas/${name}`);
  }
  return check && stale > 0 ? 1 : 0;
}

function readIfThere(path: URL): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

if (import.meta.main) Deno.exit(main(Deno.args));
