/** From a kept model to an embedder. */
import { OpError } from "../../base/errors.ts";
import type { Layout } from "../../base/layout.ts";
import type { ModelIdentity } from "../embedder.ts";
import { DEFAULT_BATCH_TEXTS, feedsOf } from "../onnx/batches.ts";
import { type DeviceOptions, openOnDevice } from "../onnx/devices.ts";
import type { ModelFile } from "../onnx/engine.ts";
import { OnnxEmbedder } from "../onnx/onnx_embedder.ts";
import { loadTokenizer } from "../tokenizer/load.ts";
import type { TextTokenizer } from "../tokenizer/tokenizer.ts";
import { readTokenizer } from "./folder.ts";
import {
  identityOf,
  MODEL_FILE,
  type ModelRecord,
  type TextRole,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
} from "./record.ts";
import { findModel, modelFolder } from "./store.ts";

/** How to open a model. */
export interface OpenOptions extends DeviceOptions {
  /** Questions or answers; default `passage`. */
  readonly role?: TextRole;
}

/**
 * Opens a kept model.
 *
 * @throws {InputError} when there is no such model
 * @throws {OpError} when its files are gone or it does not run on the device
 */
export async function openModel(
  layout: Layout,
  name: string,
  options: OpenOptions,
): Promise<OnnxEmbedder> {
  const record = findModel(layout, name);
  const folder = modelFolder(layout, name);
  checkSizes(record, folder);
  const identity = identityOf(record, options.role ?? "passage");
  const stampFolder = layout.meta;
  return await openRecord(record, folder, { stampFolder, ...options, identity });
}

/** A changed size is seen at once; `model list --verify` compares digests. */
function checkSizes(record: ModelRecord, folder: string): void {
  for (const { path, size_bytes } of record.files) {
    let found = -1;
    try {
      found = Deno.statSync(`${folder}/${path}`).size;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    if (found === size_bytes) continue;
    const why = found < 0 ? "is missing" : `has ${found} bytes in place of ${size_bytes}`;
    throw new OpError(
      "damaged_model",
      `Cannot open the model ${record.name}: ${folder}/${path} ${why}`,
      { hint: "add or pull the model again with --force" },
    );
  }
}

/** {@link openModel} of a folder whose record is at hand. */
export async function openRecord(
  record: ModelRecord,
  folder: string,
  options: DeviceOptions & { readonly identity: ModelIdentity },
): Promise<OnnxEmbedder> {
  // The model is read on another thread while this one parses the vocabulary.
  const opening = openOnDevice(modelFile(record, folder), options);
  const [opened, tokenizer] = await Promise.allSettled([
    opening,
    tokenizerOf(record, folder),
  ]);
  if (opened.status === "rejected") throw opened.reason;
  if (tokenizer.status === "rejected") {
    opened.value.session[Symbol.dispose]();
    throw tokenizer.reason;
  }
  return new OnnxEmbedder({
    identity: options.identity,
    ...opened.value,
    tokenizer: tokenizer.value,
    inputs: record.inputs,
    batchTexts: record.batch_sensitive ? 1 : options.batchTexts ?? DEFAULT_BATCH_TEXTS,
  });
}

function modelFile(record: ModelRecord, folder: string): ModelFile {
  return {
    path: `${folder}/${MODEL_FILE}`,
    externalFiles: record.external_files,
    output: record.output,
    int32Inputs: record.int32_inputs,
  };
}

/**
 * The tokenizer in a kept model's folder.
 *
 * @throws {InputError} for one that is damaged, of an unsupported kind or harmful
 */
export async function tokenizerOf(
  record: Pick<ModelRecord, "files">,
  folder: string,
): Promise<TextTokenizer> {
  const config = record.files.some(({ path }) => path === TOKENIZER_CONFIG_FILE)
    ? { config: await Deno.readTextFile(`${folder}/${TOKENIZER_CONFIG_FILE}`) }
    : {};
  const path = `${folder}/${TOKENIZER_FILE}`;
  return await loadTokenizer({ definition: readTokenizer(path), ...config, path });
}

/** Runs a model once to see what comes out: axes, dimensions. */
export async function shapeOf(
  record: ModelRecord,
  folder: string,
  tokenizer: TextTokenizer,
  devices: DeviceOptions,
): Promise<{ dimensions: number; rank: 2 | 3 }> {
  const { session } = await openOnDevice(modelFile(record, folder), devices);
  using _session = session;
  const encoded = tokenizer.encode("a", record.max_tokens);
  const batch = { texts: [0], encoded: [encoded], columns: encoded.ids.length };
  const inputs = feedsOf(batch, tokenizer.padId, record.inputs);
  using output = await session.run({ rows: 1, columns: batch.columns, inputs });
  const rank = output.dims.length, dimensions = output.dims.at(-1) ?? 0;
  if ((rank !== 2 && rank !== 3) || dimensions < 1) {
    throw new OpError(
      "model_output",
      `Cannot use the model ${record.source}: its output has the shape ${
        output.dims.join(" x ")
      }`,
      { hint: "choose an output of token states or sentence vectors with --tensor" },
    );
  }
  return { dimensions, rank };
}
