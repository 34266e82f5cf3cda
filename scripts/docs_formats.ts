/**
 * docs/formats.md: what op-dbus writes and reads, from the sources that define it. A binary
 * format is the comment at the head of the module that reads and writes it; a file with a
 * JSON Schema is the list of its keys.
 */
import { schemas } from "./schemas.ts";

const REPO = new URL("../", import.meta.url).pathname;

/** One kind of file. */
interface Format {
  readonly title: string;
  /** Where such files are; below the root where it begins with `@` or `meta`. */
  readonly where: string;
  /** Module whose first comment says how it is made. */
  readonly source?: string;
  /** File below schemas/. */
  readonly schema?: string;
  /** How deep its keys are listed. */
  readonly levels?: number;
  /** What neither of them says. */
  readonly more?: string;
}

const FORMATS: Readonly<Record<string, readonly Format[]>> = {
  "The cache": [
    {
      title: "Key of a vector",
      where: "names of loose files, keys of the index and of packs",
      source: "lib/cache/key.ts",
    },
    {
      title: "Loose vector",
      where: "`@cache/embeddings/vectors/<key>.bin`",
      source: "lib/cache/object.ts",
    },
    {
      title: "Pack and its table",
      where: "`@cache/embeddings/vectors/pack-<n>.pack`, `.idx`",
      source: "lib/cache/pack_format.ts",
    },
    {
      title: "Numbers in fewer bits",
      where: "payload of both",
      source: "lib/cache/codec_int.ts",
      more:
        "The other codecs: float32 as it is, float32 compressed by zstd, float16 (IEEE 754).",
    },
    {
      title: "Index",
      where: "`@cache/embeddings/index.db`, SQLite in WAL mode",
      source: "lib/cache/index_schema.ts",
      more: "It can be lost: `cache verify` makes it again from the vectors.",
    },
    {
      title: "Model",
      where: "`models/<name>/model.json` and the files of the Hugging Face layout",
      source: "lib/embed/model/record.ts",
    },
  ],
  "Snapshots": [
    {
      title: "Names",
      where: "`@<target>-snapshots/`",
      source: "lib/snapshot/name.ts",
      more:
        "A stream of one (`snapshot send`) is a btrfs send stream, version 1 or 2, as the " +
        "kernel documents it (`dev-send-stream.rst`), in one zstd frame where asked.",
    },
  ],
  "Plugins": [
    { title: "plugin.toml", where: "`@plugin-<name>/`", schema: "plugin" },
    {
      title: "semantic-mapping.toml",
      where: "`@plugin-<name>/`",
      schema: "semantic-mapping",
      levels: 3,
      more: "What a `[state.*]` of each kind needs: [desired state](desired-state.md).",
    },
    {
      title: "Package",
      where: "`<name>-v<version>.btrfs.zst`",
      source: "lib/plugin/package.ts",
      more:
        "A btrfs send stream of one subvolume in zstd. The same folder gives the same " +
        "bytes: sorted, owner root, times and UUID derived from the content.",
    },
    {
      title: "Key and signature",
      where: "`.key`, `.pub`, `.minisig`",
      source: "lib/plugin/minisign/format.ts",
      more:
        "A package's trusted comment binds its time, name, version and digest, in fields " +
        "apart by tabs: `timestamp:SECONDS`, `name:NAME`, `version:VERSION`, " +
        "`digest:sha256:HEX`; a difference has `from:VERSION`, too. Without them, as " +
        "plain `minisign` signs, the package is refused.",
    },
    {
      title: "repository.toml",
      where: "beside the packages, written by hand",
      schema: "repository",
    },
    {
      title: "index.json",
      where: "beside the packages, with `index.json.minisig`",
      schema: "index",
    },
    { title: "op-dbus.lock", where: "`meta/`", schema: "lock" },
  ],
  "Desired state": [
    {
      title: "State file",
      where: "wherever you keep it",
      schema: "state",
      source: "lib/state/document.ts",
      more: "How D-Bus values are written in JSON: [desired state](desired-state.md).",
    },
  ],
  "The audit chain": [
    {
      title: "Block",
      where: "`@timing/blocks/<number>.json`",
      source: "lib/chain/block.ts",
    },
    { title: "Journal", where: "`@timing/journal`", source: "lib/chain/journal.ts" },
    { title: "Head", where: "`@timing/head.json`", source: "lib/chain/head.ts" },
    {
      title: "Checkpoint",
      where: "`@timing/checkpoints/<size>`, `chain checkpoint`",
      source: "lib/chain/checkpoint.ts",
    },
    {
      title: "Footprints",
      where: "`@vectors/<model>.footprints`",
      source: "lib/chain/footprints.ts",
    },
    { title: "States", where: "`@state/`", source: "lib/chain/states.ts" },
  ],
};

/** The comment that a module begins with, as markdown. */
function headOf(source: string): string {
  const text = Deno.readTextFileSync(REPO + source);
  const found = text.match(/^\/\*\*\s?([\s\S]*?)\*\//)?.[1];
  if (found === undefined) throw new Error(`${source} does not begin with a comment`);
  return found.split("\n").map((line) => line.replace(/^ \* ?/, "")).join("\n")
    .replace(/\{@link ([^}]+)\}/g, "`$1`").trim();
}

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** @param levels of keys within keys; deeper ones are the same words again */
function keyLines(schema: Schema, path: string, levels: number): string[] {
  if (levels === 0) return [];
  if (schema.anyOf && !schema.properties) return keyLines(schema.anyOf[0]!, path, levels);
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const kind = value.type ?? (value.const === undefined ? "any" : `${value.const}`);
    const needed = schema.required?.includes(name) ? "" : ", optional";
    const about = value.description ? `: ${value.description}` : "";
    return [
      `- \`${path}${name}\` (${kind}${needed})${about}`,
      ...keyLines(value, `${path}${name}.`, levels - 1),
    ];
  });
  const { additionalProperties: more, items } = schema;
  return [
    ...own,
    ...(typeof more === "object" ? keyLines(more, `${path}<name>.`, levels - 1) : []),
    ...(items ? keyLines(items, `${path.replace(/\.$/, "")}[].`, levels - 1) : []),
  ];
}

function formatText({ title, where, source, schema, levels = 5, more }: Format): string {
  const file = `${schema}.schema.json`;
  const keys = schema === undefined ? [] : [
    `JSON Schema: [\`schemas/${file}\`](../schemas/${file})`,
    keyLines(JSON.parse(schemas().get(file)!), "", levels).join("\n"),
  ];
  return [
    `### ${title}`,
    `Where: ${where}`,
    ...(source === undefined ? [] : [headOf(source)]),
    ...keys,
    ...(more === undefined ? [] : [more]),
  ].join("\n\n");
}

/** The whole page. */
export function formats(): string {
  return [
    "# File formats",
    "Written by `deno task docs` from the sources; do not edit. Numbers in binary files are " +
    "little-endian. Everything is written whole, made durable, and then renamed into place.",
    ...Object.entries(FORMATS).flatMap(([room, list]) => [
      `## ${room}`,
      ...list.map(formatText),
    ]),
  ].join("\n\n") + "\n";
}
