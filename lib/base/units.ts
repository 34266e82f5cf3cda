/** Sizes and durations with units, as people type them and as they are shown. */

const BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
};

/**
 * Reads a size: `4096`, `512K`, `2G`, `1.5GiB`. Units are binary, as those of mount(8) and
 * btrfs are; `KB` and `KiB` mean the same.
 *
 * @param text digits, an optional fraction, an optional unit
 * @returns whole bytes
 * @throws {RangeError} with the reason, when it is no size
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?$/i.exec(text.trim());
  if (!match) throw new RangeError(`"${text}" is not a size such as 512M or 2G`);
  const bytes = Math.round(Number(match[1]) * BYTES[(match[2] ?? "").toUpperCase()]!);
  if (!Number.isSafeInteger(bytes)) throw new RangeError(`"${text}" is too large a size`);
  return bytes;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  min: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
  w: 7 * DAY_MS,
  y: 365 * DAY_MS,
};

/**
 * Reads a duration: `90d`, `24h`, `1h30m`, `500ms`. A month has no fixed length and is no
 * unit; `y` is 365 days. A bare `0` is allowed, any other bare number is not.
 *
 * @returns whole milliseconds
 * @throws {RangeError} with the reason, when it is no duration
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed === "0") return 0;
  const piece = /(\d+(?:\.\d+)?)\s*(ms|min|[smhdwy])\s*/gy;
  let totalMs = 0, at = 0;
  for (let match; (match = piece.exec(trimmed)) !== null;) {
    totalMs += Number(match[1]) * MILLISECONDS[match[2]!]!;
    at = piece.lastIndex;
  }
  if (at === 0 || at !== trimmed.length) {
    throw new RangeError(`"${text}" is not a duration such as 90d, 24h or 1h30m`);
  }
  const ms = Math.round(totalMs);
  if (!Number.isSafeInteger(ms)) throw new RangeError(`"${text}" is too long a duration`);
  return ms;
}

/** A size for people: `1.5 GiB`, `512 B`. */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes, at = 0;
  while (Math.abs(value) >= 1024 && at < units.length - 1) {
    value /= 1024;
    at++;
  }
  const digits = at === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${units[at]}`;
}

/** A size that {@link parseSize} reads back exactly: `2G`, `1536M`, `1000`. */
export function exactSize(bytes: number): string {
  for (const unit of ["P", "T", "G", "M", "K"]) {
    if (bytes > 0 && bytes % BYTES[unit]! === 0) return `${bytes / BYTES[unit]!}${unit}`;
  }
  return String(bytes);
}

/** A duration that {@link parseDuration} reads back exactly: `1d12h`, `90s`, `0`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms), text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const count = Math.floor(rest / MILLISECONDS[unit]!);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * MILLISECONDS[unit]!;
  }
  return text || "0";
}

/** An age for people: its largest unit only: `3d`, `5h`, `12s`. */
export function formatAge(ms: number): string {
  const sign = ms < 0 ? "-" : "", size = Math.abs(ms);
  for (const unit of ["y", "d", "h", "m", "s"]) {
    const length = MILLISECONDS[unit]!;
    if (size >= length) return `${sign}${Math.floor(size / length)}${unit}`;
  }
  return "0s";
}
