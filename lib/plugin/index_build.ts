/** Making a repository: packages are verified one by one, the index written and signed. */
import * as v from "valibot";
import { DT_DIR, DT_REG, listFolder } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { InputError } from "../base/errors.ts";
import { writeDurably } from "../base/durable.ts";
import {
  type IndexDelta,
  type IndexPlugin,
  IndexSchema,
  type IndexVersion,
  type RepositoryIndex,
} from "./index_schema.ts";
import { parseJson, readJsonFile } from "./json_file.ts";
import { NameSchema } from "./manifest_schema.ts";
import type { PublicKey } from "./minisign/format.ts";
import type { SecretKey } from "./minisign/secret_key.ts";
import {
  isPluginName,
  mayHold,
  packageFileName,
  type PackageName,
  parsePackageFileName,
} from "./names.ts";
import { type PackageContent, readPackage } from "./package.ts";
import { requireClaim } from "./package_signature.ts";
import { asPlainLine, isPlainLine } from "./plain_text.ts";
import { InvalidFileError, type Problem } from "./problems.ts";
import { PluginFolder } from "./plugin_files.ts";
import { INDEX_FILE } from "./repository_update.ts";
import { signFile, verifyFile } from "./sign_file.ts";
import { checkAgainst, MAX_TOML_BYTES, parseToml } from "./toml.ts";
import { DeltaVerifier } from "./delta_verify.ts";
import { compareVersions } from "./versions.ts";
import { KeyIdSchema } from "./trust_store.ts";

/** The file in which a repository's maker says what no package says. */
export const REPOSITORY_FILE = "repository.toml";

/** The shape of repository.toml. */
export const RepositoryFileSchema = v.pipe(
  v.object({
    name: NameSchema,
    description: v.optional(v.pipe(v.string(), v.maxLength(4096))),
    url: v.optional(v.pipe(v.string(), v.maxLength(2048), v.check(isPlainLine))),
    expires_days: v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(3650)),
      90,
    ),
    yanked: v.optional(
      v.record(v.string(), v.pipe(v.string(), v.maxLength(256), v.check(isPlainLine))),
      {},
    ),
    revoked_keys: v.optional(v.array(KeyIdSchema), []),
  }),
  v.title("op-dbus repository.toml"),
);

/** What repository.toml says. */
export type RepositoryFile = v.InferOutput<typeof RepositoryFileSchema>;

/** How to make an index. */
export interface BuildOptions {
  /** Keys that packages may be signed by. */
  readonly packageKeys: readonly PublicKey[];
  /** Keys that sign the index; the first also as plain `index.json.minisig`. */
  readonly signers: readonly SecretKey[];
  readonly now?: Date;
  readonly signal?: AbortSignal;
  readonly progress?: (file: string, done: number, total: number) => void;
}

/** A made index. */
export interface BuiltIndex {
  readonly index: RepositoryIndex;
  readonly path: string;
  /** Each package's content, for READMEs. */
  readonly contents: ReadonlyMap<string, PackageContent>;
}

interface Found extends PackageName {
  readonly path: string;
  readonly file: string;
}

/**
 * Walks `DIR/NAME/NAME-vX.Y.Z.btrfs.zst`, verifies every package, writes index.json with
 * the next counter and signs it.
 *
 * @throws {DifferenceError} for a package whose signature or content is wrong
 * @throws {InputError} for one in the wrong place
 */
export async function buildIndex(
  folder: string,
  options: BuildOptions,
): Promise<BuiltIndex> {
  const facts = readRepositoryFile(folder);
  const found = findPackages(folder);
  const contents = new Map<string, PackageContent>();
  const plugins: Record<string, IndexPlugin> = {};
  using deltas = new DeltaVerifier();
  // Full packages first: a difference is checked against them.
  found.sort((a, b) =>
    Number(a.from !== null) - Number(b.from !== null) ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) ||
    compareVersions(b.version, a.version)
  );
  for (const [i, one] of found.entries()) {
    options.signal?.throwIfAborted();
    options.progress?.(one.file, i, found.length);
    const { digests } = verifyPackage(one, options.packageKeys);
    const file = { file: one.file, sha256: digests.sha256, size: digests.sizeBytes };
    const where = `${one.name}@${one.version}`;
    if (one.from === null) {
      const content = await readPackage(one.path);
      requireSame(one, content);
      contents.set(where, content);
      const plugin = plugins[one.name] ??= pluginEntry(content);
      plugin.versions.push(versionEntry(content, file, facts.yanked[where]));
    } else {
      const version = plugins[one.name]?.versions.find((e) => e.version === one.version);
      const base = found.find((f) =>
        f.name === one.name && f.version === one.from && f.from === null
      );
      if (!version || !base) {
        throw new InputError("no_full_package", `No full package beside ${one.file}`, {
          hint: "a difference needs the full packages of both its versions",
        });
      }
      await deltas.verify(one.path, base.path, version.tree);
      (version.deltas as IndexDelta[]).push({ from: one.from, ...file });
    }
  }
  const index = nextIndex(folder, facts, plugins, options.now ?? new Date());
  const path = writeIndex(folder, index, options.signers);
  return { index, path, contents };
}

/** Reads repository.toml. @throws {InvalidFileError} */
export function readRepositoryFile(folder: string): RepositoryFile {
  using files = new PluginFolder(folder);
  const text = files.readText(REPOSITORY_FILE, MAX_TOML_BYTES);
  if (text === null) {
    throw new InputError("no_repository", `No ${REPOSITORY_FILE} in ${folder}`, {
      hint: 'make one that says at least: name = "my-plugins"',
    });
  }
  const document = parseToml(text, REPOSITORY_FILE);
  const { value, problems } = checkAgainst(
    RepositoryFileSchema,
    document.value,
    document,
  );
  if (!value) throw new InvalidFileError(problems as Problem[]);
  return value;
}

function findPackages(folder: string): Found[] {
  const found: Found[] = [];
  for (const file of namesOf(folder, DT_REG)) {
    if (file.endsWith(".btrfs.zst")) throw misplaced(file, parsePackageFileName(file));
  }
  for (const name of namesOf(folder, DT_DIR).filter(isPluginName)) {
    for (const file of namesOf(`${folder}/${name}`, DT_REG)) {
      if (!file.endsWith(".btrfs.zst")) continue;
      const parsed = parsePackageFileName(file);
      if (!parsed || parsed.name !== name) {
        throw misplaced(`${name}/${file}`, parsed, name);
      }
      found.push({
        ...parsed,
        path: `${folder}/${name}/${file}`,
        file: `${name}/${file}`,
      });
    }
  }
  return found;
}

/** A package that is not taken is an error: left out of the index, nobody would miss it. */
function misplaced(file: string, name: PackageName | null, folder = ""): InputError {
  if (name && mayHold(name, folder)) {
    const right = `${folder}/${packageFileName({ ...name, name: folder }, name.from)}`;
    return new InputError("bad_package_name", `${asPlainLine(file)} has another's name`, {
      hint: `rename it and its .minisig: ${right}`,
    });
  }
  const base = file.slice(file.lastIndexOf("/") + 1);
  return new InputError(
    "bad_package_name",
    `${asPlainLine(file)} is in the wrong place`,
    {
      hint: name
        ? `move it into the folder of its plugin: ${name.name}/${base}`
        : "a package lies in the folder of its plugin: lxc/lxc-v1.2.0.btrfs.zst",
    },
  );
}

function namesOf(folder: string, type: number): string[] {
  return listFolder(folder).filter((entry) => entry.type === type)
    .map((entry) => new TextDecoder().decode(entry.name)).sort();
}

function verifyPackage(one: Found, keys: readonly PublicKey[]) {
  const find = (id: string) => keys.find((key) => key.id === id);
  const checked = verifyFile(one.path, find);
  requireClaim(checked.signature, checked.digests, one, one.file);
  return checked;
}

function requireSame(one: Found, { manifest }: PackageContent): void {
  if (manifest.name === one.name && manifest.version === one.version) return;
  throw new InputError(
    "wrong_package",
    `${one.file} holds ${manifest.name}@${manifest.version}`,
    { hint: "pack it again: op-dbus plugin pack DIR" },
  );
}

function pluginEntry({ manifest }: PackageContent): IndexPlugin {
  const { author, description, license } = manifest;
  return {
    author,
    ...(description !== undefined && { description }),
    ...(license !== undefined && { license }),
    versions: [],
  };
}

function versionEntry(
  { manifest, tree }: PackageContent,
  file: { file: string; sha256: string; size: number },
  yanked: string | undefined,
): IndexVersion {
  const opDbus = manifest.requires.op_dbus;
  return {
    version: manifest.version,
    ...file,
    tree,
    dependencies: manifest.dependencies,
    requires_proxmox: manifest.requires_proxmox,
    ...(opDbus !== undefined && { op_dbus: opDbus }),
    ...(yanked !== undefined && { yanked }),
    deltas: [],
  };
}

const DAY_MS = 86_400_000;

function nextIndex(
  folder: string,
  facts: RepositoryFile,
  plugins: Record<string, IndexPlugin>,
  now: Date,
): RepositoryIndex {
  const before = readJsonFile(IndexSchema, `${folder}/${INDEX_FILE}`);
  const seconds = (time: number) => new Date(time).toISOString().replace(/\.\d+Z$/, "Z");
  return {
    format: 1,
    repository: facts.name,
    counter: (before?.counter ?? 0) + 1,
    created: seconds(now.getTime()),
    expires: seconds(now.getTime() + facts.expires_days * DAY_MS),
    revoked_keys: facts.revoked_keys,
    plugins: Object.fromEntries(
      Object.entries(plugins).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0),
    ),
  };
}

function writeIndex(
  folder: string,
  index: RepositoryIndex,
  signers: readonly SecretKey[],
): string {
  const path = `${folder}/${INDEX_FILE}`;
  const text = JSON.stringify(index, null, 1) + "\n";
  // What clients would refuse is not published.
  parseJson(IndexSchema, text, INDEX_FILE);
  writeDurably(path, new TextEncoder().encode(text));
  const timestamp = Math.floor(Date.parse(index.created) / 1000);
  signers.forEach((key, i) => {
    if (i === 0) signFile(path, key, { timestamp });
    if (signers.length > 1) signFile(path, key, { timestamp, suffix: `.${key.id}` });
  });
  return path;
}

/** Adds this key's signature to an index that others made. @throws {InputError} */
export function cosignIndex(folder: string, key: SecretKey): string {
  const path = `${folder}/${INDEX_FILE}`;
  try {
    return signFile(path, key, { suffix: `.${key.id}` }).path;
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
    throw new InputError("no_index", `No ${INDEX_FILE} in ${folder}`, {
      cause: error,
      hint: "make it first: op-dbus repo index DIR --key KEY",
    });
  }
}
