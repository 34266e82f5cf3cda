/** The shape of a repository's index.json. */
import * as v from "valibot";
import { DependencySchema, NameSchema, VersionSchema } from "./manifest_schema.ts";
import { isPlainLine, isPlainText } from "./plain_text.ts";
import { packageFileName } from "./names.ts";
import { isRange } from "./versions.ts";
import { KeyIdSchema } from "./trust_store.ts";

/** Largest index that is fetched. */
export const MAX_INDEX_BYTES = 16 * 1024 * 1024;
/** Largest package that an index may announce. */
export const MAX_PACKAGE_BYTES = 4 * 1024 * 1024 * 1024;
const MAX_PLUGINS = 10_000;
const MAX_VERSIONS = 1000;
const MAX_LIST = 256;

const line = v.pipe(
  v.string(),
  v.maxLength(256),
  v.check(isPlainLine, "control characters"),
);
const Sha256Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "must be a SHA-256"));
const SizeSchema = v.pipe(
  v.number(),
  v.integer(),
  v.minValue(1),
  v.maxValue(MAX_PACKAGE_BYTES, "larger than a package may be"),
);
const TimeSchema = v.pipe(v.string(), v.isoTimestamp());

const FileSchema = {
  /** Path from the index, always `NAME/` and the package's own name. */
  file: v.pipe(v.string(), v.maxLength(512)),
  sha256: Sha256Schema,
  size: SizeSchema,
};

const DeltaSchema = v.object({ from: VersionSchema, ...FileSchema });

const IndexVersionSchema = v.object({
  version: VersionSchema,
  ...FileSchema,
  /** Digest of the tree, the same for the full package and every delta to it. */
  tree: Sha256Schema,
  dependencies: v.pipe(v.array(DependencySchema), v.maxLength(MAX_LIST)),
  requires_proxmox: v.optional(v.boolean(), false),
  /** Range of op-dbus versions that it works with. */
  op_dbus: v.optional(v.pipe(v.string(), v.check(isRange, "must be a range"))),
  /** Why nobody should install it any more. */
  yanked: v.optional(v.pipe(v.string(), v.maxLength(256), v.check(isPlainLine))),
  deltas: v.optional(v.pipe(v.array(DeltaSchema), v.maxLength(MAX_LIST)), []),
});

const IndexPluginSchema = v.object({
  description: v.optional(
    v.pipe(v.string(), v.maxLength(4096), v.check(isPlainText, "control characters")),
  ),
  author: line,
  license: v.optional(line),
  versions: v.pipe(v.array(IndexVersionSchema), v.maxLength(MAX_VERSIONS)),
});

/** A repository's index. */
export const IndexSchema = v.pipe(
  v.object({
    format: v.literal(1),
    repository: v.pipe(NameSchema, v.description("What the repository calls itself")),
    counter: v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.description("Goes up with every index; a lower one than seen is refused"),
    ),
    created: TimeSchema,
    expires: v.pipe(TimeSchema, v.description("After this time the index is refused")),
    revoked_keys: v.optional(v.pipe(v.array(KeyIdSchema), v.maxLength(MAX_LIST)), []),
    plugins: v.pipe(
      v.record(NameSchema, IndexPluginSchema),
      v.check((r) => Object.keys(r).length <= MAX_PLUGINS, "too many plugins"),
      v.check(everyFileIsItsOwn, "a file is not called after its plugin and version"),
      v.check(noVersionTwice, "a version stands there twice"),
    ),
  }),
  v.title("op-dbus repository index.json"),
);

export type RepositoryIndex = v.InferOutput<typeof IndexSchema>;
export type IndexPlugin = v.InferOutput<typeof IndexPluginSchema>;
export type IndexVersion = v.InferOutput<typeof IndexVersionSchema>;
export type IndexDelta = v.InferOutput<typeof DeltaSchema>;

type Plugins = Record<string, IndexPlugin>;

function everyFileIsItsOwn(plugins: Plugins): boolean {
  return Object.entries(plugins).every(([name, plugin]) =>
    plugin.versions.every((entry) =>
      entry.file === `${name}/${packageFileName({ name, version: entry.version })}` &&
      entry.deltas.every((delta) =>
        delta.file ===
          `${name}/${packageFileName({ name, version: entry.version }, delta.from)}`
      )
    )
  );
}

function noVersionTwice(plugins: Plugins): boolean {
  return Object.values(plugins).every(({ versions }) =>
    new Set(versions.map((entry) => entry.version)).size === versions.length
  );
}
