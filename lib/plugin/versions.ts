/**
 * Semantic versions and ranges of plugins: npm's semver, behind our own limits. Its parts
 * are imported one by one: the whole compiles patterns at import that nothing here uses.
 */
// @ts-types="@types/semver/functions/compare"
import compare from "semver/functions/compare.js";
// @ts-types="@types/semver/functions/prerelease"
import prerelease from "semver/functions/prerelease.js";
// @ts-types="@types/semver/functions/satisfies"
import satisfies from "semver/functions/satisfies.js";
// @ts-types="@types/semver/functions/valid"
import valid from "semver/functions/valid.js";
// @ts-types="@types/semver/ranges/valid"
import validRange from "semver/ranges/valid.js";

/** Longest version or range that is looked at. */
const MAX_LENGTH = 128;

/**
 * True for a version a plugin may have: semantic versioning 2.0.0 without build metadata
 * (two builds rank equal, so "which of them is newer" would have no answer).
 */
export function isVersion(text: string): boolean {
  return text.length <= MAX_LENGTH && !text.includes("+") &&
    valid(text) === text;
}

/** True for a range that npm's semver reads: `^1.2`, `>=1 <3`, `1.x || 2.x`, `*`. */
export function isRange(text: string): boolean {
  return text.length <= MAX_LENGTH && validRange(text) !== null;
}

/** Order of two versions: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  return compare(a, b);
}

/**
 * True when a version is in a range. A pre-release is only where the range names one of
 * the same release, as npm has it, unless it is asked for.
 */
export function inRange(
  version: string,
  range: string,
  includePrerelease = false,
): boolean {
  if (version === range) return true;
  return satisfies(version, range, { includePrerelease });
}

/** True for a version such as `2.0.0-rc.1`. */
export function isPrerelease(version: string): boolean {
  return prerelease(version) !== null;
}

/** True for a range that is one version exactly: `1.2.0`, `=1.2.0`. */
export function isExact(range: string): boolean {
  return isVersion(range.replace(/^=/, ""));
}

/** Newest first. */
export function newestFirst(versions: readonly string[]): string[] {
  return [...versions].sort((a, b) => compareVersions(b, a));
}

/**
 * A kernel release as a version: `6.1.0-18-amd64` is 6.1.0.
 * @returns null when it starts with no number
 */
export function kernelVersion(release: string): string | null {
  const match = /^(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/.exec(release);
  return match && `${Number(match[1])}.${Number(match[2])}.${Number(match[3] ?? 0)}`;
}
