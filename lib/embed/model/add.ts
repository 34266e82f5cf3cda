/** Adding a model from a local folder: check, copy, try, record. */
import { fsyncFolder } from "../../../ffi/files.ts";
import { writeDurably } from "../../base/durable.ts";
import { asOpError, InputError, type OpError } from "../../base/errors.ts";
import type { Layout } from "../../base/layout.ts";
import type { DeviceOptions } from "../onnx/devices.ts";
import type { TextTokenizer } from "../tokenizer/tokenizer.ts";
import { copyFrom } from "./copy.ts";
import { inspectFolder, type ModelFolder } from "./folder.ts";
import { hashFile } from "./hash.ts";
import { checkModelName } from "./names.ts";
import { openRecord, shapeOf, tokenizerOf } from "./open.ts";
import {
  digestOf,
  identityOf,
  type ModelFileRecord,
  type ModelRecord,
  RECORD_FILE,
} from "./record.ts";
import { readSettings, type SettingOverrides } from "./settings.ts";
import {
  installFolder,
  lockModels,
  type LockWait,
  readModel,
  temporaryFolder,
} from "./store.ts";

/** What the user may say about the model. */
export interface AddOptions extends SettingOverrides, LockWait {
  /** The .onnx file inside the folder; default model.onnx or onnx/model.onnx. */
  readonly file?: string;
  /** The output to read. */
  readonly output?: string;
  /** Replaces a model of that name. */
  readonly replace?: boolean;
  /** What the record says it came from; default the folder. */
  readonly source?: string;
  /** The engine to try it on. */
  readonly devices: DeviceOptions;
}

/** Texts that the model must give finite vectors for before it is kept. */
const TRIALS = ["op-dbus", "A longer sentence, so that the shorter one is padded."];

/**
 * Checks a folder and keeps a copy of what the model needs from it.
 *
 * @param folder absolute path
 * @throws {InputError} for a folder that is no usable model, or a name that is taken
 * @throws {OpError} when it cannot be copied or does not run
 */
export async function addModel(
  layout: Layout,
  name: string,
  folder: string,
  options: AddOptions,
): Promise<ModelRecord> {
  checkModelName(name);
  const origin = options.source ?? folder;
  const found = inspectFolder(folder, { ...options, origin });
  const settings = readSettings(found.settings, options, origin);
  using _lock = await lockedForWriting(layout, name, options);
  if (!options.replace && readModel(layout, name)) {
    throw new InputError("model_exists", `There is a model ${name} already`, {
      hint: "choose another name, or replace it with --force",
    });
  }
  const temporary = temporaryFolder(layout, name);
  try {
    const files = await copyFiles(found, temporary, options.signal);
    const draft: ModelRecord = {
      format: 1,
      name,
      digest: await digestOf(files, found.output.name),
      files,
      dimensions: 1, // known after the trial
      ...settings,
      precision: found.precision,
      inputs: [...found.inputs],
      int32_inputs: found.int32Inputs,
      output: found.output.name,
      batch_sensitive: found.batchSensitive,
      external_files: [...found.onnx.externalFiles],
      tokenizer: "library",
      source: origin,
      added_at: new Date().toISOString(),
    };
    const record = await tryOut(draft, temporary, found, options);
    const text = JSON.stringify(record, null, 2) + "\n";
    writeDurably(`${temporary}/${RECORD_FILE}`, new TextEncoder().encode(text));
    await installFolder(layout, temporary, name);
    return record;
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch((failure) => {
      if (!(failure instanceof Deno.errors.NotFound)) throw failure;
    });
    const told = blame(asOpError(error, `Cannot add the model ${name}`));
    // The copy, which the engine and the system name, is gone: name what it was made of.
    for (const { from, to } of found.copies) {
      told.message = told.message.replaceAll(`${temporary}/${to}`, from);
    }
    throw told;
  }
}

/** What a model cannot do on an engine that works is the user's choice of model. */
const MODEL_FAULTS = ["model_failed", "model_output", "model_unloadable"];

function blame(error: OpError): OpError {
  if (!MODEL_FAULTS.includes(error.code)) return error;
  const { code, message, hint } = error;
  return new InputError(code, message, { cause: error, ...(hint && { hint }) });
}

async function lockedForWriting(layout: Layout, name: string, options: AddOptions) {
  try {
    return await lockModels(layout, options);
  } catch (error) {
    throw asOpError(error, `Cannot add the model ${name}`);
  }
}

async function copyFiles(
  found: ModelFolder,
  into: string,
  signal: AbortSignal | undefined,
): Promise<ModelFileRecord[]> {
  await Deno.mkdir(into, { mode: 0o755 });
  const files: ModelFileRecord[] = [];
  for (const { from, to } of found.copies) {
    signal?.throwIfAborted();
    const target = `${into}/${to}`;
    const parent = target.slice(0, target.lastIndexOf("/"));
    await Deno.mkdir(parent, { recursive: true });
    await copyFrom(found.home, from, target, signal);
    if (parent !== into) fsyncFolder(parent);
    // The copy is what is hashed.
    files.push({ path: to, ...await hashFile(target, signal) });
  }
  return files;
}

/** Loads the copied model and embeds a few texts: what fails here is not kept. */
async function tryOut(
  draft: ModelRecord,
  folder: string,
  found: ModelFolder,
  options: AddOptions,
): Promise<ModelRecord> {
  const tokenizer = await tokenizerOf(draft, folder);
  checkVocabulary(found, tokenizer, draft.source);
  const { dimensions, rank } = await shapeOf(draft, folder, tokenizer, options.devices);
  const stated = found.settings.pooling?.["word_embedding_dimension"];
  if (typeof stated === "number" && stated !== dimensions) {
    const message = `Cannot use the model ${draft.source}: it gives ${dimensions} ` +
      `dimensions, 1_Pooling/config.json says ${stated}`;
    throw new InputError("bad_model", message);
  }
  const record: ModelRecord = {
    ...draft,
    dimensions,
    tokenizer: tokenizer.kind,
    pooling: rank === 2 ? "none" : draft.pooling,
  };
  if (rank === 3 && draft.pooling === "none") {
    throw new InputError(
      "bad_model",
      `Cannot use the model ${draft.source}: its output has a state per token, ` +
        "and pooling is none",
      { hint: "choose --pooling mean, cls or max" },
    );
  }
  using embedder = await openRecord(record, folder, {
    ...options.devices,
    // It has no name yet that says anything: messages name where it comes from.
    identity: { ...identityOf(record, "passage"), name: draft.source },
  });
  await embedder.embed(TRIALS, options.signal ? { signal: options.signal } : {});
  return record;
}

/** A tokenizer with more words than the model has rows would fail on some texts only. */
function checkVocabulary(
  found: ModelFolder,
  tokenizer: TextTokenizer,
  origin: string,
): void {
  const size = found.settings.config?.["vocab_size"];
  const ids = tokenizer.largestId + 1;
  if (typeof size !== "number" || ids <= size) return;
  throw new InputError(
    "bad_model",
    `Cannot use the model ${origin}: its tokenizer has ${ids} tokens, ` +
      `the model only ${size}`,
    { hint: "tokenizer.json belongs to another model" },
  );
}
