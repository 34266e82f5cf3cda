/**
 * How a model wants to be used, from the small JSON files around it: pooling,
 * normalisation, prefixes, limit.
 *
 * Source: sentence-transformers' modules.json, 1_Pooling/config.json,
 * sentence_bert_config.json, config_sentence_transformers.json; transformers' config.json
 * and tokenizer_config.json.
 */
import { InputError } from "../../base/errors.ts";
import type { ModelIdentity } from "../embedder.ts";
import type { ModelRecord } from "./record.ts";

/** Any JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The small files, parsed; null where the folder has none. */
export interface SettingFiles {
  readonly config: JsonObject | null;
  readonly tokenizerConfig: JsonObject | null;
  readonly modules: readonly JsonObject[] | null;
  readonly pooling: JsonObject | null;
  readonly sentenceBert: JsonObject | null;
  readonly sentenceTransformers: JsonObject | null;
}

/** What the user says in place of the files. */
export interface SettingOverrides {
  readonly pooling?: ModelIdentity["pooling"];
  readonly normalisation?: ModelIdentity["normalisation"];
  readonly queryPrefix?: string;
  readonly passagePrefix?: string;
  readonly maxTokens?: number;
}

/** What was found. */
export type Settings = Pick<
  ModelRecord,
  "pooling" | "normalisation" | "prefixes" | "max_tokens"
>;

const POOLING_MODES = {
  pooling_mode_cls_token: "cls",
  pooling_mode_mean_tokens: "mean",
  pooling_mode_max_tokens: "max",
} as const;
const SUPPORTED_MODULES = ["Transformer", "Pooling", "Normalize"];
/** tokenizer_config.json writes 1e30 for "no limit". */
const NO_LIMIT = 1_000_000;
/** Families whose tables of positions start after the padding id. */
const OFFSET_FAMILIES = ["roberta", "xlm-roberta", "camembert", "mpnet"];
const POSITION_OFFSET = 2;
const DEFAULT_LIMIT = 512;

/** Prefixes that a family was trained with, where its files do not say. */
const FAMILIES: readonly [RegExp, { query: string; passage: string }][] = [
  [/(^|[/_-])(multilingual-)?e5-/i, { query: "query: ", passage: "passage: " }],
  [/(^|[/_-])bge-(small|base|large)-en/i, {
    query: "Represent this sentence for searching relevant passages: ",
    passage: "",
  }],
  [/(^|[/_-])bge-(small|base|large)-zh/i, {
    query: "为这个句子生成表示以用于检索相关文章：",
    passage: "",
  }],
];

/**
 * Reads the settings.
 *
 * @param origin the folder's or repository's name, to recognise a family by and for
 *   messages
 * @throws {InputError} for a pooling or a module that op-dbus does not have
 */
export function readSettings(
  files: SettingFiles,
  overrides: SettingOverrides,
  origin: string,
): Settings {
  checkModules(files.modules, origin);
  const normalises = files.modules?.some((module) => kindOf(module) === "Normalize") ??
    true;
  return {
    pooling: overrides.pooling ?? poolingOf(files.pooling, origin),
    normalisation: overrides.normalisation ?? (normalises ? "l2" : "none"),
    prefixes: prefixesOf(files, overrides, origin),
    max_tokens: checkedLimit(files, overrides.maxTokens, origin) ?? limitOf(files),
  };
}

/** A limit of the user's: a longer text than the model has positions for would not run. */
function checkedLimit(
  files: SettingFiles,
  limit: number | undefined,
  origin: string,
): number | undefined {
  const positions = positionsOf(files.config);
  if (limit === undefined || positions === null || limit <= positions) return limit;
  throw new InputError(
    "bad_model",
    `Cannot use the model ${origin} with ${limit} tokens: it has ${positions} positions`,
    { hint: `choose --max-tokens ${positions} or less` },
  );
}

function kindOf(module: JsonObject): string {
  return String(module["type"] ?? "").split(".").at(-1)!;
}

function checkModules(modules: SettingFiles["modules"], origin: string): void {
  const unknown = modules?.map(kindOf).find((kind) => !SUPPORTED_MODULES.includes(kind));
  if (unknown === undefined) return;
  throw new InputError(
    "unsupported_model",
    `Cannot use the model ${origin}: modules.json wants a ${unknown} layer after the encoder`,
    { hint: "choose a model of Transformer, Pooling and Normalize" },
  );
}

function poolingOf(config: JsonObject | null, origin: string): Settings["pooling"] {
  if (config === null) return "mean";
  const on = Object.entries(config).filter(([key, value]) =>
    key.startsWith("pooling_mode_") && value === true
  ).map(([key]) => key);
  const only = on[0];
  if (on.length === 1 && only !== undefined && only in POOLING_MODES) {
    return POOLING_MODES[only as keyof typeof POOLING_MODES];
  }
  throw new InputError(
    "unsupported_model",
    `Cannot use the model ${origin}: its pooling is ${on.join(" and ") || "none"}`,
    { hint: "op-dbus pools by mean, cls or max: name one with --pooling" },
  );
}

function prefixesOf(
  files: SettingFiles,
  overrides: SettingOverrides,
  origin: string,
): Settings["prefixes"] {
  const prompts = (files.sentenceTransformers?.["prompts"] ?? {}) as JsonObject;
  const text = (key: string) => {
    const value = prompts[key];
    return typeof value === "string" ? value : undefined;
  };
  const names = [origin, String(files.config?.["_name_or_path"] ?? "")];
  const family = FAMILIES.find(([pattern]) => names.some((name) => pattern.test(name)));
  const passage = text("passage") ?? text("document");
  return {
    query: overrides.queryPrefix ?? text("query") ?? family?.[1].query ?? "",
    passage: overrides.passagePrefix ?? passage ?? family?.[1].passage ?? "",
  };
}

function numberOf(from: JsonObject | null, key: string): number | null {
  const value = from?.[key];
  return typeof value === "number" && value >= 1 && value < NO_LIMIT
    ? Math.floor(value)
    : null;
}

/** How many tokens a model has positions for; null where its files do not say. */
function positionsOf(config: JsonObject | null): number | null {
  const positions = numberOf(config, "max_position_embeddings");
  const family = String(config?.["model_type"] ?? "");
  return positions === null
    ? null
    : positions - (OFFSET_FAMILIES.includes(family) ? POSITION_OFFSET : 0);
}

function limitOf(files: SettingFiles): number {
  const limits = [
    numberOf(files.sentenceBert, "max_seq_length"),
    numberOf(files.tokenizerConfig, "model_max_length"),
    positionsOf(files.config),
  ].filter((limit) => limit !== null);
  return limits.length > 0 ? Math.min(...limits) : DEFAULT_LIMIT;
}
