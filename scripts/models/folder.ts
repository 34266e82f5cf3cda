/** A whole model folder in Hugging Face's layout, as sentence-transformers publishes it. */
import { type BertOptions, writeBert } from "./bert.ts";
import { type BertShape, bertWeights, TINY } from "./bert_weights.ts";
import { tokenizerJson, type TokenizerOptions, vocabulary } from "./tokenizer_json.ts";

/** What the folder holds besides the shape. */
export interface FolderOptions extends BertOptions {
  readonly shape?: BertShape;
  /** Same seed, same bytes. Default 1. */
  readonly seed?: number;
  readonly tokenizer?: TokenizerOptions;
  readonly pooling?: "mean" | "cls" | "max";
  readonly normalise?: boolean;
  /** sentence-transformers' max_seq_length. Default half the positions. */
  readonly maxTokens?: number;
  /** `query` and `passage` prompts of config_sentence_transformers.json. */
  readonly prompts?: Readonly<Record<string, string>>;
  /** Puts model.onnx into the folder itself, not into onnx/. */
  readonly flat?: boolean;
  /** Leaves out modules.json, 1_Pooling and sentence_bert_config.json. */
  readonly withoutPooling?: boolean;
}

/**
 * Writes the folder.
 *
 * @param path made where it is missing
 */
export async function writeModelFolder(
  path: string,
  options: FolderOptions = {},
): Promise<void> {
  const shape = options.shape ?? TINY;
  const seed = options.seed ?? 1;
  const folder = options.flat ? path : `${path}/onnx`;
  await Deno.mkdir(folder, { recursive: true });
  const { model, external } = writeBert(shape, bertWeights(shape, seed), options);
  await Deno.writeFile(`${folder}/model.onnx`, model);
  if (external) await Deno.writeFile(`${folder}/${options.externalFile}`, external);
  const json = async (name: string, value: unknown) => {
    await Deno.writeTextFile(`${path}/${name}`, JSON.stringify(value, null, 2) + "\n");
  };
  const tokens = vocabulary(shape.vocabulary, seed);
  await json("tokenizer.json", tokenizerJson(tokens, options.tokenizer));
  await json("tokenizer_config.json", {
    tokenizer_class: "BertTokenizer",
    do_lower_case: options.tokenizer?.lowercase ?? true,
    model_max_length: shape.positions,
    unk_token: "[UNK]",
    sep_token: "[SEP]",
    pad_token: "[PAD]",
    cls_token: "[CLS]",
    mask_token: "[MASK]",
  });
  await json("config.json", {
    architectures: ["BertModel"],
    model_type: "bert",
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    intermediate_size: shape.intermediate,
    max_position_embeddings: shape.positions,
    vocab_size: shape.vocabulary,
    type_vocab_size: 2,
    hidden_act: "gelu",
    layer_norm_eps: 1e-12,
  });
  if (!options.withoutPooling) await sentenceFiles(path, shape, options, json);
}

async function sentenceFiles(
  path: string,
  shape: BertShape,
  options: FolderOptions,
  json: (name: string, value: unknown) => Promise<void>,
): Promise<void> {
  const pooling = options.pooling ?? "mean";
  await Deno.mkdir(`${path}/1_Pooling`, { recursive: true });
  await json("1_Pooling/config.json", {
    word_embedding_dimension: shape.hidden,
    pooling_mode_cls_token: pooling === "cls",
    pooling_mode_mean_tokens: pooling === "mean",
    pooling_mode_max_tokens: pooling === "max",
    pooling_mode_mean_sqrt_len_tokens: false,
  });
  const modules = ["Transformer", "Pooling"];
  if (options.normalise ?? true) modules.push("Normalize");
  await json(
    "modules.json",
    modules.map((kind, idx) => ({
      idx,
      name: String(idx),
      path: idx === 0 ? "" : `${idx}_${kind}`,
      type: `sentence_transformers.models.${kind}`,
    })),
  );
  await json("sentence_bert_config.json", {
    max_seq_length: options.maxTokens ?? shape.positions / 2,
    do_lower_case: false,
  });
  if (options.prompts) {
    await json("config_sentence_transformers.json", { prompts: options.prompts });
  }
}
