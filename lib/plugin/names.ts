/** Names that plugins, packages, snapshots and dependencies go by. */
import { InputError } from "../base/errors.ts";
import { isRange, isVersion } from "./versions.ts";

/** Longest name; `@plugin-` and a suffix still fit well into a file name. */
export const MAX_NAME_LENGTH = 64;

/** `@plugin-snapshots` is the folder of versions, so nobody may be called that. */
const RESERVED = new Set(["snapshots"]);

/** What a plugin's name must look like, for messages. */
export const NAME_RULE =
  "lower-case letters, digits and hyphens, starting with a letter or digit, at most 64";

/** True for a name a plugin may have. */
export function isPluginName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && /^[a-z0-9][a-z0-9-]*$/.test(text) &&
    !RESERVED.has(text);
}

/** @throws {InputError} for a name that no plugin may have */
export function requirePluginName(text: string): string {
  if (isPluginName(text)) return text;
  throw new InputError("bad_name", `Not a plugin's name: ${JSON.stringify(text)}`, {
    hint: RESERVED.has(text) ? `${text} is reserved` : `a name is ${NAME_RULE}`,
  });
}

/** A plugin at one version. */
export interface NameVersion {
  readonly name: string;
  readonly version: string;
}

/** A plugin in a range of versions. */
export interface NameRange {
  readonly name: string;
  readonly range: string;
}

/** What a dependency or a command's argument means: `net`, `net@^1.2`, `net@1.2.0`. */
export function parseNameRange(text: string): NameRange | null {
  const at = text.indexOf("@");
  const name = at < 0 ? text : text.slice(0, at);
  const range = at < 0 ? "*" : text.slice(at + 1).trim();
  return isPluginName(name) && range !== "" && isRange(range) ? { name, range } : null;
}

/** `lxc@1.2.0` and also `lxc@v1.2.0`, as the snapshot is called. */
export function parseNameVersion(text: string): NameVersion | null {
  const at = text.indexOf("@");
  if (at < 0) return null;
  const name = text.slice(0, at);
  const version = text.slice(at + 1).replace(/^v/, "");
  return isPluginName(name) && isVersion(version) ? { name, version } : null;
}

/** The name of a version's read-only snapshot: `lxc@v1.2.0`. */
export function snapshotName({ name, version }: NameVersion): string {
  return `${name}@v${version}`;
}

/** What a package file's name says. */
export interface PackageName extends NameVersion {
  /** The version that a delta starts from; null for a full package. */
  readonly from: string | null;
}

const SUFFIX = ".btrfs.zst";

/**
 * True when a file that is called so may hold a plugin: `lxc-plugin-v1.2.0.btrfs.zst` is a
 * usual name for a package of lxc, too. What it holds says which is meant.
 */
export function mayHold(file: NameVersion, name: string): boolean {
  return name === file.name || `${name}-plugin` === file.name;
}

/** What a file's name means, told what it holds; unchanged where it cannot hold that. */
export function meantBy(file: PackageName, name: string): PackageName {
  return mayHold(file, name) ? { ...file, name } : file;
}

/**
 * `lxc-v1.2.0.btrfs.zst`; a delta is `lxc-v1.2.0_from_v1.1.0.btrfs.zst` (an underscore is
 * in no semantic version, so the two cannot be confused).
 */
export function packageFileName(p: NameVersion, from: string | null = null): string {
  return `${p.name}-v${p.version}${from === null ? "" : `_from_v${from}`}${SUFFIX}`;
}

/** The inverse of {@link packageFileName}; null for any other name. */
export function parsePackageFileName(file: string): PackageName | null {
  if (!file.endsWith(SUFFIX) || file.length > 400) return null;
  const [full, from = null, ...more] = file.slice(0, -SUFFIX.length).split("_from_v");
  if (more.length > 0 || (from !== null && !isVersion(from))) return null;
  // Hyphens are in names and in versions alike; a name has no dots, a version begins
  // with two, so at most one split can be right.
  for (let at = full!.indexOf("-v"); at >= 0; at = full!.indexOf("-v", at + 1)) {
    const name = full!.slice(0, at), version = full!.slice(at + 2);
    if (isPluginName(name) && isVersion(version)) return { name, version, from };
  }
  return null;
}
