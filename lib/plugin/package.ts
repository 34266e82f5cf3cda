/** Packages: what one holds, without root, without btrfs, without writing anything. */
import { InputError } from "../base/errors.ts";
import {
  type AuditResult,
  auditStream,
  type AuditStreamOptions,
} from "../stream/inspect.ts";
import { type ByteSource, fileSource } from "../stream/source.ts";
import { type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import { checkMapping, type Mapping } from "./mapping.ts";
import { meantBy, type PackageName, parsePackageFileName } from "./names.ts";
import { requirePackageFile } from "./package_file.ts";
import { InvalidFileError, type Problem } from "./problems.ts";
import { MAPPING_FILE } from "./validate.ts";

/** What a package holds. */
export interface PackageContent {
  readonly manifest: Manifest;
  /** Null where the plugin has none. */
  readonly mapping: Mapping | null;
  /** Warnings about both files. */
  readonly warnings: readonly Problem[];
  /** Tree digest, lower-case hex. */
  readonly tree: string;
  readonly audit: AuditResult;
}

/** How to read a package. */
export type ReadPackageOptions = Pick<
  AuditStreamOptions,
  "base" | "collect" | "signal" | "progress"
>;

/**
 * Audits a package and reads its manifest and mapping.
 *
 * @param source the file; a zstd frame around the stream is taken off
 * @throws {StreamError} when it is damaged or does what a plugin may not
 * @throws {InvalidFileError} when manifest or mapping are wrong
 */
export async function readPackage(
  source: ByteSource | string,
  options: ReadPackageOptions = {},
): Promise<PackageContent> {
  const from = typeof source === "string" ? fileSource(source) : source;
  const audit = await auditStream(from, {
    ...options,
    keep: [MANIFEST_FILE, MAPPING_FILE],
    keepBytes: 2 * 1024 * 1024,
  });
  const text = (file: string) => {
    const bytes = audit.kept.get(file);
    if (!bytes) return null;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch (error) {
      throw new InputError("invalid_file", `${file} in ${from.name} is not UTF-8`, {
        cause: error,
        hint: "ask its author for a new package",
      });
    }
  };
  const manifestText = text(MANIFEST_FILE);
  if (manifestText === null || audit.digest === null) {
    throw new InputError("not_a_plugin", `No ${MANIFEST_FILE} in ${from.name}`, {
      hint: "this is a send stream, but not of a plugin",
    });
  }
  const { value: manifest, problems } = parseManifest(manifestText);
  if (!manifest) throw new InvalidFileError(problems);
  const mappingText = text(MAPPING_FILE);
  const checked = mappingText === null ? null : checkMapping(mappingText, MAPPING_FILE);
  if (checked && !checked.mapping) throw new InvalidFileError(checked.problems);
  return {
    manifest,
    mapping: checked?.mapping ?? null,
    warnings: [...problems, ...(checked?.problems ?? [])],
    tree: audit.digest,
    audit,
  };
}

/**
 * What a file is a package of, from its name; where that leaves a choice
 * ({@link meantBy}), from its content.
 *
 * @returns null for what is not called like a package
 * @throws as {@link readPackage}, and as {@link requirePackageFile}
 */
export async function packageNameOf(path: string): Promise<PackageName | null> {
  const named = parsePackageFileName(path.slice(path.lastIndexOf("/") + 1));
  if (!named?.name.endsWith("-plugin") || named.from !== null) return named;
  requirePackageFile(path);
  const { name, version } = (await readPackage(path)).manifest;
  return version === named.version ? meantBy(named, name) : named;
}

/** What a plugin may do, for whoever has to agree to it. */
export interface Powers {
  /** D-Bus names that it talks to. */
  readonly busNames: readonly string[];
  /** Methods that change something, by their name in the mapping. */
  readonly unsafeMethods: readonly string[];
  readonly safeMethods: number;
}

/** The powers that a mapping gives. */
export function powersOf(mapping: Mapping | null): Powers {
  const methods = [...(mapping?.methods.values() ?? [])];
  const names = new Set<string>();
  if (mapping?.service) names.add(mapping.service.name);
  return {
    busNames: [...names],
    unsafeMethods: methods.filter(({ safe }) => !safe).map(({ name }) => name).sort(),
    safeMethods: methods.filter(({ safe }) => safe).length,
  };
}
