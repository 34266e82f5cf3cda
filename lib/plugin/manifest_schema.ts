/** The shape of plugin.toml (DESIGN.md, "Files that others write"). */
import * as v from "valibot";
import { isPluginName, MAX_NAME_LENGTH, NAME_RULE, parseNameRange } from "./names.ts";
import { isPlainLine, isPlainText } from "./plain_text.ts";
import { isRange, isVersion } from "./versions.ts";

const MAX_TEXT = 4096;
const MAX_LINE = 256;
const MAX_LIST = 256;

const line = (max = MAX_LINE) =>
  v.pipe(
    v.string(),
    v.minLength(1, "must not be empty"),
    v.maxLength(max, `must be at most ${max} characters`),
    v.check(isPlainLine, "must be one line without control characters"),
  );

const text = v.pipe(
  v.string(),
  v.maxLength(MAX_TEXT, `must be at most ${MAX_TEXT} characters`),
  v.check(isPlainText, "must be without control characters"),
);

const list = <S extends v.GenericSchema>(item: S) =>
  v.pipe(v.array(item), v.maxLength(MAX_LIST, `must have at most ${MAX_LIST} entries`));

const VERSION_RULE = 'must be a semantic version without build metadata, like "1.2.0"';

/** A plugin's name. */
export const NameSchema = v.pipe(
  v.string(),
  v.maxLength(MAX_NAME_LENGTH, `must be ${NAME_RULE}`),
  // The pattern is for the JSON Schema; the check knows what is reserved, too.
  v.regex(/^[a-z0-9][a-z0-9-]*$/, `must be ${NAME_RULE}`),
  v.check(isPluginName, `must be ${NAME_RULE}`),
  v.description("Name of the plugin"),
);

/** A plugin's version. */
export const VersionSchema = v.pipe(
  v.string(),
  v.regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/, VERSION_RULE),
  v.check(isVersion, VERSION_RULE),
  v.description("Semantic version, MAJOR.MINOR.PATCH"),
);

/** A dependency: a name, or a name with a range. */
export const DependencySchema = v.pipe(
  v.string(),
  v.check(
    (s) => parseNameRange(s) !== null,
    'must be a plugin\'s name, with a range where one is wanted: "net", "net@^1.2"',
  ),
);

const RangeSchema = v.pipe(
  v.string(),
  v.check(isRange, 'must be a range of versions, like ">=5.10"'),
);

/** A path inside the plugin: relative, no way out; a folder ends in a slash. */
const ConfigPathSchema = v.pipe(
  line(),
  v.check(
    (s) => !s.startsWith("/") && s.replace(/\/$/, "").split("/").every(isPathPart),
    'must be a path inside the plugin, like "config.toml" or "conf.d/"',
  ),
);

function isPathPart(part: string): boolean {
  return part !== "" && part !== "." && part !== "..";
}

/** What the host must have. */
export const RequiresSchema = v.object({
  commands: v.optional(v.pipe(
    list(v.pipe(line(), v.check((s) => !s.includes("/"), "must be a bare name"))),
    v.description("Commands that must be on PATH"),
  )),
  dbus: v.optional(v.pipe(
    list(
      v.pipe(
        line(),
        v.regex(/^[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)+$/, "must be a D-Bus name"),
      ),
    ),
    v.description("Well-known D-Bus names that must be running or activatable"),
  )),
  kernel: v.optional(v.pipe(RangeSchema, v.description("Range of kernel versions"))),
  op_dbus: v.optional(v.pipe(RangeSchema, v.description("Range of op-dbus versions"))),
});

/** What the plugin's mapping may be used for; a key that is absent means true. */
export const CapabilitiesSchema = v.object({
  query: v.optional(v.boolean(), true),
  apply: v.optional(v.boolean(), true),
  rollback: v.optional(v.boolean(), true),
  checkpoint: v.optional(v.boolean(), true),
});

/** The keys of `[plugin]`, or of the whole file where there is no such table. */
export const PluginTableSchema = v.object({
  name: NameSchema,
  version: VersionSchema,
  author: v.pipe(line(), v.description("Who made it")),
  description: v.optional(v.pipe(text, v.description("What it is for"))),
  license: v.optional(v.pipe(line(), v.description("SPDX licence expression"))),
  homepage: v.optional(v.pipe(line(), v.description("Where to read more"))),
  requires_proxmox: v.optional(
    v.pipe(v.boolean(), v.description("Only works on a Proxmox VE host")),
    false,
  ),
  requires: v.optional(RequiresSchema, {}),
  dependencies: v.optional(list(DependencySchema), []),
  config: v.optional(
    v.pipe(
      list(ConfigPathSchema),
      v.description("Files and folders that belong to the user once installed"),
    ),
    [],
  ),
  capabilities: v.optional(CapabilitiesSchema, {}),
});

/** A whole plugin.toml with the `[plugin]` table. */
export const ManifestFileSchema = v.pipe(
  v.object({
    plugin: v.omit(PluginTableSchema, ["capabilities"]),
    requires: v.optional(RequiresSchema),
    capabilities: v.optional(CapabilitiesSchema),
  }),
  v.title("op-dbus plugin.toml"),
);

/** What plugin.toml says, defaults filled in. */
export type Manifest = v.InferOutput<typeof PluginTableSchema>;
export type Requires = v.InferOutput<typeof RequiresSchema>;
export type Capabilities = v.InferOutput<typeof CapabilitiesSchema>;
