/** Semantic versions and ranges of plugins: npm's semver, behind our own limits. */
// @ts-types="@types/semver"
import semver from "semver";

/** Longest version or range that is looked at. */
const MAX_LENGTH = 128;

/**
 * True for a version a plugin may have: semantic versioning 2.0.0 without build metadata
 * (two builds rank equal, so "which of them is newer" would have no answer).
 */
export function isVersion(text: string): boolean {
  return text.length <= MAX_LENGTH && !text.includes("+") &&
    semver.valid(text) === text;
}

/** True for a range that npm's semver reads: `^1.2`, `>=1 <3`, `1.x || 2.x`, `*`. */
export function isRange(text: string): boolean {
  return text.length <= MAX_LENGTH && semver.validRange(text) !== null;
}

/** Order of two versions: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  return semver.compare(a, b);
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
  return semver.satisfies(version, range, { includePrerelease });
}

/** True for a version such as `2.0.0-rc.1`. */
export function isPrerelease(version: string): boolean {
  return semver.prerelease(version) !== null;
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
