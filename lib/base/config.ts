/**
 * The configuration: each key from a flag, the environment, the config file or its default,
 * in that order, and where it came from.
 */
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { CONFIG_KEYS, CONFIG_TABLES } from "./config_keys.ts";
import type { Kind, ValueOf } from "./config_kinds.ts";
import { asOpError, InputError } from "./errors.ts";
import { nearest } from "./nearest.ts";
import { locateKey, parseToml, type TomlTable } from "./toml.ts";

export const DEFAULT_CONFIG_FILE = "/etc/op-dbus/config.toml";

/** Refuses a larger config file. */
const MAX_FILE_BYTES = 1024 * 1024;

export type ConfigKey = keyof typeof CONFIG_KEYS;
export type ConfigTable = keyof typeof CONFIG_TABLES;
export type ConfigValue<K extends ConfigKey> = ValueOf<typeof CONFIG_KEYS[K]>;
/** One named entry of a table; fields that the file does not set have their default. */
export type ConfigRow<T extends ConfigTable> = {
  readonly [F in keyof typeof CONFIG_TABLES[T]]: ValueOf<typeof CONFIG_TABLES[T][F]>;
};

/** Where a value came from. */
export type ConfigSource = "flag" | "environment" | "file" | "default";

/** One value with its provenance. */
export interface ConfigEntry {
  /** `cache.codec`, `snapshot.targets.home.path`. */
  readonly name: string;
  readonly value: unknown;
  /** As one would type it. */
  readonly shown: string;
  readonly source: ConfigSource;
  /** `--root`, `OPDBUS_ROOT`, `/etc/op-dbus/config.toml:3:1`; empty for a default. */
  readonly origin: string;
}

/** What {@link resolveConfig} works on. */
export interface ConfigInput {
  /** Values given by flags, as typed. */
  readonly flags?: Partial<Record<ConfigKey, string>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The config file, where there is one. */
  readonly file?: { readonly path: string; readonly text: string };
}

/** The environment variable of a key. */
export function environmentName(key: string): string {
  return `OPDBUS_${key.replaceAll(".", "_").toUpperCase()}`;
}

/** Variables that are no settings; see docs/reference.md, and the header for OPDBUS_EXE. */
const OTHER_VARIABLES = [
  "OPDBUS_CONFIG",
  "OPDBUS_EXE",
  "OPDBUS_KEY_PASSWORD",
  "OPDBUS_RUNTIME_DIR",
  "OPDBUS_RUNTIME_VERIFY",
];

/** A warning for each variable that nearly has the name of one that is read. */
function mistypedVariables(env: ConfigInput["env"] = {}): string[] {
  const given = Object.keys(env).filter((name) => name.startsWith("OPDBUS_"));
  if (given.length === 0) return [];
  const known = [...Object.keys(CONFIG_KEYS).map(environmentName), ...OTHER_VARIABLES];
  return given.filter((name) => !known.includes(name)).flatMap((name) => {
    const guess = nearest(name, known);
    return guess ? [`${name} is not read; did you mean ${guess}?`] : [];
  });
}

/** The resolved configuration. */
export class Config {
  constructor(
    /** The file that was read, or null. */
    readonly file: string | null,
    private readonly keys: ReadonlyMap<string, ConfigEntry>,
    private readonly rows: readonly ConfigEntry[],
    /** What is not wrong, but hardly meant. */
    readonly warnings: readonly string[],
  ) {}

  /** A key's value. */
  get<K extends ConfigKey>(key: K): ConfigValue<K> {
    return this.keys.get(key)!.value as ConfigValue<K>;
  }

  /** A key's value and where it came from. */
  entry(key: ConfigKey): ConfigEntry {
    return this.keys.get(key)!;
  }

  /** Every key, then every field that the file sets in a table. */
  entries(): ConfigEntry[] {
    return [...this.keys.values(), ...this.rows];
  }

  /** The entries of a table by the name the user gave them. */
  table<T extends ConfigTable>(table: T): Map<string, ConfigRow<T>> {
    const found = new Map<string, Record<string, unknown>>();
    const fields = Object.entries<Kind<unknown>>(CONFIG_TABLES[table]);
    for (const { name, value } of this.rows) {
      if (!name.startsWith(`${table}.`)) continue;
      const rest = name.slice(table.length + 1), dot = rest.lastIndexOf(".");
      const row = rest.slice(0, dot);
      if (!found.has(row)) {
        found.set(row, Object.fromEntries(fields.map(([f, kind]) => [f, kind.fallback])));
      }
      found.get(row)![rest.slice(dot + 1)] = value;
    }
    return found as unknown as Map<string, ConfigRow<T>>;
  }
}

/**
 * Reads the config file and resolves every key.
 *
 * @param options flags and environment; `path` is the file named by flag, else
 *   OPDBUS_CONFIG, else {@link DEFAULT_CONFIG_FILE}, which alone may be missing
 * @throws {InputError} on a missing named file, bad TOML, an unknown key or a bad value
 */
export function loadConfig(
  options: Omit<ConfigInput, "file"> & { readonly path?: string | undefined } = {},
): Config {
  const named = options.path ?? options.env?.OPDBUS_CONFIG;
  const path = named || DEFAULT_CONFIG_FILE;
  let text: string | null = null;
  try {
    text = readTextFile(path, MAX_FILE_BYTES);
  } catch (error) {
    if (named || !isSysError(error, "ENOENT", "ENOTDIR")) {
      const { code, message } = asOpError(error, "Cannot read the config");
      throw new InputError(code, message, {
        cause: error,
        hint: "name a readable file with --config or OPDBUS_CONFIG",
      });
    }
  }
  return resolveConfig({ ...options, ...(text !== null && { file: { path, text } }) });
}

/**
 * Resolves every key from what is given; touches nothing.
 *
 * @throws {InputError} on bad TOML, an unknown key or a bad value, with its place
 */
export function resolveConfig(input: ConfigInput): Config {
  const file = input.file ? readFileEntries(input.file) : new Map<string, ConfigEntry>();
  const keys = new Map<string, ConfigEntry>();
  for (const [name, kind] of Object.entries<Kind<unknown>>(CONFIG_KEYS)) {
    keys.set(name, resolveKey(name, kind, input, file));
  }
  const rows = [...file.values()].filter(({ name }) => !keys.has(name));
  const warnings = mistypedVariables(input.env);
  return new Config(input.file?.path ?? null, keys, rows, warnings);
}

function resolveKey(
  name: string,
  kind: Kind<unknown>,
  input: ConfigInput,
  file: ReadonlyMap<string, ConfigEntry>,
): ConfigEntry {
  const fromText = (given: string, source: ConfigSource, origin: string): ConfigEntry => {
    try {
      return entry(name, kind, kind.fromText(given), source, origin);
    } catch (error) {
      throw badValue(origin, name, kind, error);
    }
  };
  const given = input.flags?.[name as ConfigKey];
  if (given !== undefined) {
    return fromText(given, "flag", name === "root" ? "--root" : `--set ${name}`);
  }
  const variable = environmentName(name), set = input.env?.[variable];
  if (set) return fromText(set, "environment", variable);
  return file.get(name) ?? entry(name, kind, kind.fallback, "default", "");
}

function entry(
  name: string,
  kind: Kind<unknown>,
  value: unknown,
  source: ConfigSource,
  origin: string,
): ConfigEntry {
  return { name, value, shown: kind.show(value), source, origin };
}

function badValue(at: string, name: string, kind: Kind<unknown>, error: unknown) {
  if (!(error instanceof RangeError)) throw error;
  return new InputError("invalid_config", `Invalid ${name} (${at}): ${error.message}`, {
    hint: `give ${kind.expects}`,
  });
}

/** The kind of a key of the file by its path; null for a table above keys. */
function kindAt(parts: readonly string[]): Kind<unknown> | "table" | undefined {
  const name = parts.join(".");
  if (Object.hasOwn(CONFIG_KEYS, name)) return CONFIG_KEYS[name as ConfigKey];
  for (const [table, fields] of Object.entries(CONFIG_TABLES)) {
    const depth = table.split(".").length;
    if (parts.slice(0, depth).join(".") !== table) continue;
    if (parts.length <= depth + 1) return "table";
    const kinds = fields as Readonly<Record<string, Kind<unknown>>>;
    const field = parts[depth + 1]!;
    return parts.length === depth + 2 && Object.hasOwn(kinds, field)
      ? kinds[field]
      : undefined;
  }
  const above = [...Object.keys(CONFIG_KEYS), ...Object.keys(CONFIG_TABLES)];
  return above.some((key) => key.startsWith(`${name}.`)) ? "table" : undefined;
}

function readFileEntries(file: { path: string; text: string }): Map<string, ConfigEntry> {
  const found = new Map<string, ConfigEntry>();
  const place = (parts: readonly string[]) => {
    const at = locateKey(file.text, parts);
    return at ? `${file.path}:${at.line}:${at.column}` : file.path;
  };
  const visit = (table: TomlTable, above: readonly string[]) => {
    for (const [key, value] of Object.entries(table)) {
      const parts = [...above, key], kind = kindAt(parts);
      if (kind === undefined) throw unknownKey(place(parts), parts);
      if (kind === "table") {
        if (isTable(value)) visit(value, parts);
        else throw wrongShape(place(parts), parts);
        continue;
      }
      const name = parts.join("."), origin = place(parts);
      try {
        found.set(name, entry(name, kind, kind.fromToml(value), "file", origin));
      } catch (error) {
        throw badValue(origin, name, kind, error);
      }
    }
  };
  visit(parseToml(file.text, file.path), []);
  return found;
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}

function wrongShape(at: string, parts: readonly string[]): InputError {
  return new InputError("invalid_config", `Invalid ${parts.join(".")} (${at}): a table`, {
    hint: `write it as [${parts.join(".")}] with keys below`,
  });
}

function unknownKey(at: string, parts: readonly string[]): InputError {
  const name = parts.join(".");
  const known = [
    ...Object.keys(CONFIG_KEYS),
    ...Object.entries(CONFIG_TABLES).flatMap(([table, fields]) =>
      Object.keys(fields).map((field) =>
        [...table.split("."), parts[table.split(".").length] ?? "NAME", field].join(".")
      )
    ),
  ];
  const guess = nearest(name, known);
  return new InputError("unknown_config_key", `Unknown key ${name} (${at})`, {
    hint: guess ? `did you mean ${guess}?` : "op-dbus config show lists every key",
  });
}
