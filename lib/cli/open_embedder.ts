/** Picks the embedder that a command works with. */
import type { ConfigValue } from "../base/config.ts";
import type { Embedder } from "../embed/embedder.ts";
import type { TextRole } from "../embed/model/record.ts";
import type { DeviceOptions } from "../embed/onnx/devices.ts";
import type { Context } from "./context.ts";
import { textFlag } from "./flags.ts";

/** Name of the embedder that needs no download. */
export const BUILTIN = "builtin";

/** The flags that pick it, for every command that embeds. */
export interface EmbedderFlags {
  readonly model?: string;
  readonly device?: ConfigValue<"embed.device">;
}

const DEVICES = ["auto", "cpu", "cuda", "tensorrt", "webgpu", "wasm"] as const;

export const EMBEDDER_FLAGS = {
  model: textFlag("Model to use (default: the configured one)", "NAME"),
  device: {
    kind: "enum",
    values: DEVICES,
    brief: "Where an ONNX model runs (default: the best that works)",
    optional: true,
  },
} as const;

/** How ONNX models run, from the flags and the configuration. */
export function deviceOptions(
  context: Context,
  device?: ConfigValue<"embed.device">,
): DeviceOptions {
  const { config } = context;
  const threads = config.get("embed.threads");
  return {
    device: device ?? config.get("embed.device"),
    library: config.get("embed.onnxruntime"),
    batchTexts: config.get("embed.batch_size"),
    ...(threads > 0 && { threads }),
  };
}

/** The model that is used when no flag names one. */
export async function chosenModel(context: Context): Promise<string> {
  const { value, source } = context.config.entry("embed.model");
  if (source !== "default") return String(value);
  const { defaultModel } = await import("../embed/model/store.ts");
  return defaultModel(context.layout) ?? BUILTIN;
}

/**
 * The embedder of `--model`, else of the configuration, else of `model default`; closed
 * when the command ends.
 *
 * @param role whether the texts are questions: some models want them marked
 * @throws {InputError} when there is no such model
 */
export async function openEmbedder(
  context: Context,
  flags: EmbedderFlags = {},
  role: TextRole = "passage",
): Promise<Embedder> {
  const name = flags.model ?? await chosenModel(context);
  if (name === BUILTIN) {
    const { BuiltinEmbedder } = await import("../embed/builtin.ts");
    const embedder = new BuiltinEmbedder();
    context.onClose(() => embedder[Symbol.dispose]());
    return embedder;
  }
  const { openModel } = await import("../embed/model/open.ts");
  const options = { ...deviceOptions(context, flags.device), role };
  const embedder = await openModel(context.layout, name, options);
  context.onClose(() => embedder[Symbol.dispose]());
  for (const why of embedder.passedOver) context.out.debug(why);
  context.out.debug(
    `${name} on ${embedder.session.device}: ${embedder.session.description}`,
  );
  return embedder;
}

/** The identity that a model's stored texts have, without loading the model. */
export async function storedIdentity(context: Context, flags: EmbedderFlags = {}) {
  const name = flags.model ?? await chosenModel(context);
  if (name === BUILTIN) return (await import("../embed/builtin.ts")).BUILTIN_IDENTITY;
  const { findModel } = await import("../embed/model/store.ts");
  const { identityOf } = await import("../embed/model/record.ts");
  return identityOf(findModel(context.layout, name), "passage");
}
