/** Picks the embedder that a command works with. */
import { InputError } from "../base/errors.ts";
import type { Embedder } from "../embed/embedder.ts";
import type { Context } from "./context.ts";

/** Name of the embedder that needs no download. */
export const BUILTIN = "builtin";

/**
 * The embedder of `--model`, else of the configuration; closed when the command ends.
 *
 * @throws {InputError} when there is no such model
 */
export async function openEmbedder(context: Context, model?: string): Promise<Embedder> {
  const name = model ?? context.config.get("embed.model");
  if (name !== BUILTIN) {
    throw new InputError("unknown_model", `Cannot use the model ${name}: no such model`, {
      hint: `the model that is always there is ${BUILTIN}`,
    });
  }
  const { BuiltinEmbedder } = await import("../embed/builtin.ts");
  const embedder = new BuiltinEmbedder();
  context.onClose(() => embedder[Symbol.dispose]());
  return embedder;
}
