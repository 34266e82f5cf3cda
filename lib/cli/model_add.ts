/** op-dbus model add */
import type { ModelRecord } from "../embed/model/record.ts";
import type { AddOptions } from "../embed/model/add.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, countFlag, durationFlag, textFlag, toggle } from "./flags.ts";
import { deviceOptions, EMBEDDER_FLAGS, type EmbedderFlags } from "./open_embedder.ts";

/** What `add` and `pull` let the user say about a model. */
export interface ModelFlags extends Pick<EmbedderFlags, "device"> {
  readonly file?: string;
  readonly tensor?: string;
  readonly pooling?: "mean" | "cls" | "max" | "none";
  readonly normalise?: boolean;
  readonly queryPrefix?: string;
  readonly passagePrefix?: string;
  readonly maxTokens?: number;
  readonly force?: boolean;
  readonly wait?: number;
}

export const MODEL_FLAGS = {
  file: textFlag("The .onnx file (default model.onnx or onnx/model.onnx)", "FILE"),
  tensor: textFlag("The output to read (default: found by name)", "NAME"),
  pooling: {
    kind: "enum",
    values: ["mean", "cls", "max", "none"],
    brief: "How token states become one vector (default: as the model says)",
    optional: true,
  },
  normalise: {
    kind: "boolean",
    brief: "Scale vectors to length 1 (default: as the model says)",
    optional: true,
  },
  queryPrefix: textFlag("Put before every question (default: as the model says)", "TEXT"),
  passagePrefix: textFlag("Put before every stored text", "TEXT"),
  maxTokens: countFlag("Cut longer texts there (default: as the model says)", "N", 3),
  device: EMBEDDER_FLAGS.device,
  force: toggle("Replace a model of that name"),
  wait: durationFlag("Wait this long for another op-dbus to finish"),
} as const;

/** The flags as the library takes them. */
export function addOptions(context: Context, flags: ModelFlags): AddOptions {
  const { file, tensor, pooling, normalise, queryPrefix, passagePrefix } = flags;
  return {
    devices: deviceOptions(context, flags.device),
    signal: context.signal,
    ...(file !== undefined && { file }),
    ...(tensor !== undefined && { output: tensor }),
    ...(pooling !== undefined && { pooling }),
    ...(normalise !== undefined && {
      normalisation: normalise ? "l2" as const : "none" as const,
    }),
    ...(queryPrefix !== undefined && { queryPrefix }),
    ...(passagePrefix !== undefined && { passagePrefix }),
    ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
    ...(flags.force && { replace: true }),
    ...(flags.wait !== undefined && { waitMs: flags.wait }),
  };
}

/** One line for people, all of it for programs. */
export function reportModel(context: Context, verb: string, record: ModelRecord): void {
  context.out.result(
    record,
    () =>
      `${verb} ${record.name}: ${record.dimensions} dimensions, ${record.precision}, ` +
      `${record.pooling} pooling, at most ${record.max_tokens} tokens, digest ` +
      record.digest.slice(0, 12),
  );
}

export const modelAdd = command<ModelFlags, [string, string]>({
  brief: "Add a model from a local folder",
  description: "The folder has Hugging Face's layout: model.onnx or onnx/model.onnx,\n" +
    "tokenizer.json, config.json, and what sentence-transformers adds. It is checked,\n" +
    "copied (a reflink on btrfs) and tried before it is kept.",
  examples: [
    "op-dbus model add minilm ./all-MiniLM-L6-v2",
    "op-dbus model add minilm-int8 ./all-MiniLM-L6-v2 --file onnx/model_quantized.onnx",
  ],
  flags: MODEL_FLAGS,
  positional: {
    kind: "tuple",
    parameters: [argument("Name", "NAME"), argument("Folder", "DIR")],
  },
  async run(context, flags, name, folder) {
    const { requireRoot } = await import("../base/root.ts");
    requireRoot(context.layout.root);
    const { addModel } = await import("../embed/model/add.ts");
    const path = folder.startsWith("/") ? folder : `${Deno.cwd()}/${folder}`;
    const options = addOptions(context, flags);
    reportModel(context, "Added", await addModel(context.layout, name, path, options));
  },
});
