/** A local folder in Hugging Face's layout: which files it has, and whether they do. */
import { isSysError } from "../../../ffi/errno.ts";
import { readTextFile } from "../../../ffi/directory.ts";
import { InputError } from "../../base/errors.ts";
import { statOrNull } from "../../base/stat.ts";
import { type Home, homeOf } from "./copy.ts";
import { MAX_TOKENIZER_BYTES } from "../tokenizer/tokenizer.ts";
import {
  type OnnxFile,
  readOnnxFile,
  TYPE_FLOAT,
  TYPE_FLOAT16,
  TYPE_INT32,
  TYPE_INT64,
  TYPE_INT8,
  TYPE_UINT8,
  type ValueInfo,
} from "./onnx_file.ts";
import { MODEL_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE } from "./record.ts";
import type { JsonObject, SettingFiles } from "./settings.ts";

/** Small JSON files are no larger. */
const MAX_JSON_BYTES = 1024 * 1024;
const MODEL_PLACES = ["model.onnx", "onnx/model.onnx"];
/** The settings, by their path in the folder. All may be missing. */
export const SETTING_FILES = {
  config: "config.json",
  tokenizerConfig: TOKENIZER_CONFIG_FILE,
  modules: "modules.json",
  pooling: "1_Pooling/config.json",
  sentenceBert: "sentence_bert_config.json",
  sentenceTransformers: "config_sentence_transformers.json",
} as const satisfies Record<keyof SettingFiles, string>;

/** Inputs that op-dbus can feed. */
const KNOWN_INPUTS = ["input_ids", "attention_mask", "token_type_ids"];
/** Outputs that hold a finished sentence vector, by the names that exporters give them. */
const SENTENCE_OUTPUTS = ["sentence_embedding", "sentence_embeddings", "embeddings"];
/** Operators whose result depends on the range of the whole batch. */
const DYNAMIC_OPERATORS = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul"];

/** What a folder holds. */
export interface ModelFolder {
  readonly home: Home;
  /** Where each file is, and where it goes in a kept model's folder. */
  readonly copies: readonly { readonly from: string; readonly to: string }[];
  readonly onnx: OnnxFile;
  readonly inputs: readonly string[];
  readonly int32Inputs: boolean;
  readonly output: ValueInfo;
  readonly batchSensitive: boolean;
  readonly precision: "fp32" | "fp16" | "int8";
  readonly settings: SettingFiles;
}

/**
 * Looks a folder over; changes nothing.
 *
 * @param path the folder
 * @param choice the .onnx file inside it and the output, where the user names them;
 *   `origin` is what messages call the model, default the folder
 * @throws {InputError} when a file is missing, damaged or of an unsupported kind
 */
export function inspectFolder(
  path: string,
  choice: {
    readonly file?: string;
    readonly output?: string;
    readonly origin?: string;
  } = {},
): ModelFolder {
  const { origin = path } = choice;
  if (!isFolder(path)) {
    throw new InputError("not_found", `Cannot use ${path}: there is no such folder`, {
      hint: "name the folder that holds model.onnx and tokenizer.json",
    });
  }
  const home = homeOf(path);
  const model = findModel(path, choice.file);
  const onnx = readOnnxFile(`${path}/${model}`);
  const { inputs, int32Inputs } = checkInputs(onnx, origin);
  const output = chooseOutput(onnx, choice.output, origin);
  const beside = model.includes("/") ? model.slice(0, model.lastIndexOf("/") + 1) : "";
  const copies = [{ from: `${path}/${model}`, to: MODEL_FILE }];
  for (const name of onnx.externalFiles) {
    checkExternal(`${path}/${beside}`, name, origin);
    copies.push({ from: `${path}/${beside}${name}`, to: name });
  }
  if (!isFile(`${path}/${TOKENIZER_FILE}`)) {
    throw new InputError("missing_file", `Cannot use ${path}: it has no tokenizer.json`, {
      hint: "a model folder has model.onnx (or onnx/model.onnx) and tokenizer.json",
    });
  }
  copies.push({ from: `${path}/${TOKENIZER_FILE}`, to: TOKENIZER_FILE });
  const settings = readSettingFiles(path);
  for (const [key, file] of Object.entries(SETTING_FILES)) {
    if (settings[key as keyof SettingFiles] !== null) {
      copies.push({ from: `${path}/${file}`, to: file });
    }
  }
  const dynamic = DYNAMIC_OPERATORS.some((name) => onnx.operators.has(name));
  return {
    home,
    copies,
    onnx,
    inputs,
    int32Inputs,
    output,
    batchSensitive: dynamic || !inputs.includes("attention_mask"),
    precision: precisionOf(onnx),
    settings,
  };
}

/** tokenizer.json's text, capped. @throws {InputError} when it is larger */
export function readTokenizer(path: string): string {
  return readCapped(path, MAX_TOKENIZER_BYTES);
}

function findModel(path: string, file: string | undefined): string {
  const places = file === undefined ? MODEL_PLACES : [file];
  if (file !== undefined && (file.startsWith("/") || file.split("/").includes(".."))) {
    throw new InputError("usage", `The model file ${file} is not inside the folder`);
  }
  const found = places.find((place) => isFile(`${path}/${place}`));
  if (found) return found;
  const others = [...onnxFiles(path, ""), ...onnxFiles(path, "onnx/")];
  throw new InputError(
    "missing_file",
    `Cannot use ${path}: it has no ${places.join(" or ")}`,
    {
      hint: others.length > 0
        ? `name one with --file: ${others.slice(0, 8).join(", ")}`
        : "export the model to ONNX first (optimum-cli export onnx)",
    },
  );
}

function onnxFiles(path: string, under: string): string[] {
  try {
    return [...Deno.readDirSync(`${path}/${under}`)].map(({ name }) => under + name)
      .filter((name) => name.endsWith(".onnx")).sort();
  } catch (error) {
    const nothing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (nothing) return [];
    throw error;
  }
}

function checkInputs(
  onnx: OnnxFile,
  origin: string,
): { inputs: string[]; int32Inputs: boolean } {
  const inputs = onnx.inputs.map(({ name }) => name);
  if (!inputs.includes("input_ids")) {
    throw unsupported(
      origin,
      `it has no input input_ids, but ${inputs.join(", ") || "none"}`,
    );
  }
  const unknown = inputs.filter((name) => !KNOWN_INPUTS.includes(name));
  if (unknown.length > 0) {
    throw unsupported(
      origin,
      `it needs the input ${unknown.join(", ")}, which op-dbus does not feed`,
    );
  }
  const types = new Set(onnx.inputs.map(({ type }) => type));
  const type = [...types][0];
  if (types.size !== 1 || (type !== TYPE_INT64 && type !== TYPE_INT32)) {
    throw unsupported(
      origin,
      `its inputs have the element types ${[...types].join(", ")}`,
    );
  }
  return { inputs, int32Inputs: type === TYPE_INT32 };
}

function chooseOutput(
  onnx: OnnxFile,
  named: string | undefined,
  origin: string,
): ValueInfo {
  const names = onnx.outputs.map(({ name }) => name).join(", ");
  if (named !== undefined) {
    const found = onnx.outputs.find(({ name }) => name === named);
    if (!found) throw unsupported(origin, `it has no output ${named}, but ${names}`);
    return checkOutput(found, origin);
  }
  const rank = ({ shape }: ValueInfo) => shape?.length;
  const found = onnx.outputs.find(({ name }) => SENTENCE_OUTPUTS.includes(name)) ??
    onnx.outputs.find(({ name }) => name === "last_hidden_state") ??
    onnx.outputs.find((output) => rank(output) === 3) ??
    onnx.outputs[0]!;
  return checkOutput(found, origin);
}

function checkOutput(output: ValueInfo, origin: string): ValueInfo {
  if (output.type !== TYPE_FLOAT && output.type !== TYPE_FLOAT16) {
    throw unsupported(
      origin,
      `its output ${output.name} has the element type ${output.type}`,
    );
  }
  const rank = output.shape?.length ?? 3;
  if (rank === 2 || rank === 3) return output;
  throw unsupported(
    origin,
    `its output ${output.name} has ${rank} axes in place of 2 or 3`,
  );
}

function unsupported(origin: string, why: string): InputError {
  return new InputError("unsupported_model", `Cannot use the model ${origin}: ${why}`, {
    hint: "op-dbus runs text encoders exported for feature-extraction",
  });
}

/** A file of weights stays beside its model, and is there. */
function checkExternal(folder: string, name: string, origin: string): void {
  const parts = name.split("/");
  // An absolute path begins with an empty part.
  if (parts.some((part) => part === ".." || part === "")) {
    throw new InputError(
      "bad_model",
      `Cannot use the model ${origin}: its weights lie outside the folder (${
        JSON.stringify(name)
      })`,
    );
  }
  const plain = parts.filter((part) => part !== ".").join("/");
  if (plain === MODEL_FILE || plain.endsWith(".json")) {
    throw new InputError(
      "bad_model",
      `Cannot use the model ${origin}: its weights are in ${name}`,
    );
  }
  if (isFile(folder + name)) return;
  throw new InputError(
    "missing_file",
    `Cannot use the model ${origin}: its weights are in ${name}, which is missing`,
    { hint: "copy that file beside the .onnx file" },
  );
}

function precisionOf(onnx: OnnxFile): ModelFolder["precision"] {
  const values = (type: number) => onnx.weights.get(type) ?? 0;
  const bytes = values(TYPE_INT8) + values(TYPE_UINT8);
  if (bytes > values(TYPE_FLOAT) + values(TYPE_FLOAT16)) return "int8";
  return values(TYPE_FLOAT16) > values(TYPE_FLOAT) ? "fp16" : "fp32";
}

function readSettingFiles(path: string): SettingFiles {
  const object = (file: string) => {
    const value = readJson(`${path}/${file}`);
    if (value === null || (typeof value === "object" && !Array.isArray(value))) {
      return value as JsonObject | null;
    }
    throw new InputError("bad_json", `Cannot read ${path}/${file}: not a JSON object`);
  };
  const modules = readJson(`${path}/${SETTING_FILES.modules}`);
  const isList = Array.isArray(modules) &&
    modules.every((item) => typeof item === "object" && item !== null);
  if (modules !== null && !isList) {
    throw new InputError("bad_json", `Cannot read ${path}/modules.json: not a list`);
  }
  return {
    config: object(SETTING_FILES.config),
    tokenizerConfig: object(SETTING_FILES.tokenizerConfig),
    modules: modules as JsonObject[] | null,
    pooling: object(SETTING_FILES.pooling),
    sentenceBert: object(SETTING_FILES.sentenceBert),
    sentenceTransformers: object(SETTING_FILES.sentenceTransformers),
  };
}

/** A small JSON file; null where there is none. */
function readJson(path: string): unknown {
  if (!isFile(path)) return null;
  try {
    return JSON.parse(readCapped(path, MAX_JSON_BYTES));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new InputError("bad_json", `Cannot read ${path}: ${error.message}`, {
      cause: error,
      hint: "fetch the file again: it is cut short or no JSON",
    });
  }
}

function readCapped(path: string, limitBytes: number): string {
  try {
    return readTextFile(path, limitBytes);
  } catch (error) {
    if (!isSysError(error, "EFBIG")) throw error;
    throw new InputError("too_large", `Cannot read ${path}: over ${limitBytes} bytes`);
  }
}

function isFile(path: string): boolean {
  return statOrNull(path)?.isFile ?? false;
}

function isFolder(path: string): boolean {
  return statOrNull(path)?.isDirectory ?? false;
}
