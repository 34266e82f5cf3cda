/** The kinds of value a config key may have: how each is read, checked and shown. */
import { exactSize, formatDuration, parseDuration, parseSize } from "./units.ts";

/** One kind of value, with its default and what `config show --help` says of it. */
export interface Kind<T> {
  /** For messages: `a size such as 2G`. */
  readonly expects: string;
  readonly fallback: T;
  /** One line: what the key does. */
  readonly about: string;
  /** From a flag or an environment variable. @throws {RangeError} with the reason */
  fromText(text: string): T;
  /** From a TOML value. @throws {RangeError} with the reason */
  fromToml(value: unknown): T;
  /** As one would type it. */
  show(value: T): string;
}

/** The type that a kind reads. */
export type ValueOf<K> = K extends Kind<infer T> ? T : never;

/** Longest list a key may hold. */
const MAX_LIST = 256;

function typed<T>(
  kind: Pick<Kind<T>, "expects" | "fallback" | "about" | "fromText"> & {
    readonly toml?: (value: unknown) => T | undefined;
    readonly show?: (value: T) => string;
  },
): Kind<T> {
  return {
    expects: kind.expects,
    fallback: kind.fallback,
    about: kind.about,
    fromText: kind.fromText,
    fromToml(value) {
      const read = typeof value === "string"
        ? kind.toml?.(value) ?? kind.fromText(value)
        : kind.toml?.(value);
      if (read !== undefined) return read;
      throw new RangeError(`expected ${kind.expects}, found ${nameOf(value)}`);
    },
    show: kind.show ?? String,
  };
}

function nameOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object" && value !== null) return "a table";
  if (typeof value === "number" || typeof value === "bigint") return `number ${value}`;
  return String(value);
}

/** Any text; `choices` limits it to those words. */
export function text(fallback: string, about: string): Kind<string>;
export function text<const T extends string>(
  fallback: NoInfer<T>,
  about: string,
  choices: readonly T[],
): Kind<T>;
export function text<T extends string>(
  fallback: T,
  about: string,
  choices?: readonly T[],
): Kind<T> {
  const expects = choices ? `one of ${choices.join(", ")}` : "a text";
  return typed<T>({
    expects,
    fallback,
    about,
    fromText(value) {
      if (!choices || choices.includes(value as T)) return value as T;
      throw new RangeError(`"${value}" is not ${expects}`);
    },
  });
}

/** An absolute path; trailing slashes are dropped. Empty stays empty where it may. */
export function path(fallback: string, about: string): Kind<string> {
  return typed({
    expects: "an absolute path",
    fallback,
    about,
    fromText(value) {
      if (value === "" && fallback === "") return "";
      if (value.startsWith("/") && !value.includes("\0")) {
        return value.replace(/\/+$/, "") || "/";
      }
      throw new RangeError(`"${value}" is not an absolute path`);
    },
  });
}

/** A whole number within bounds. */
export function integer(
  fallback: number,
  about: string,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): Kind<number> {
  const within = (value: number) => {
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new RangeError(`${value} is not a whole number from ${min} to ${max}`);
  };
  return typed({
    expects: "a whole number",
    fallback,
    about,
    fromText(value) {
      if (/^-?\d+$/.test(value.trim())) return within(Number(value));
      throw new RangeError(`"${value}" is not a whole number`);
    },
    toml: (value) => typeof value === "number" ? within(value) : undefined,
  });
}

/** Bytes: `"256M"`, or a bare number in TOML. */
export function size(fallback: string, about: string): Kind<number> {
  return typed({
    expects: "a size such as 512M or 2G",
    fallback: parseSize(fallback),
    about,
    fromText: parseSize,
    toml: (value) =>
      typeof value === "number" && Number.isSafeInteger(value) && value >= 0
        ? value
        : undefined,
    show: exactSize,
  });
}

/** Milliseconds, written with a unit: `"90d"`. */
export function duration(fallback: string, about: string): Kind<number> {
  return typed({
    expects: "a duration such as 90d or 24h",
    fallback: parseDuration(fallback),
    about,
    fromText: parseDuration,
    show: formatDuration,
  });
}

/** true or false. */
export function flag(fallback: boolean, about: string): Kind<boolean> {
  return typed({
    expects: "true or false",
    fallback,
    about,
    fromText(value) {
      if (/^(1|true|yes|on)$/i.test(value)) return true;
      if (/^(0|false|no|off)$/i.test(value)) return false;
      throw new RangeError(`"${value}" is not true or false`);
    },
    toml: (value) => typeof value === "boolean" ? value : undefined,
  });
}

/** Texts: a TOML list, or separated by commas in a flag or the environment. */
export function list(
  fallback: readonly string[],
  about: string,
): Kind<readonly string[]> {
  return typed<readonly string[]>({
    expects: "a list of texts",
    fallback,
    about,
    fromText: (value) => value.split(",").map((part) => part.trim()).filter(Boolean),
    toml(value) {
      if (!Array.isArray(value) || value.length > MAX_LIST) return undefined;
      return value.every((item) => typeof item === "string") ? value : undefined;
    },
    show: (value) => value.join(","),
  });
}
