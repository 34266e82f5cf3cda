/** Small tokenizers of the kinds that the library runs. */

/** A byte-level BPE of some bytes and three merges. */
export function bpe(): Record<string, unknown> {
  const tokens = ["<s>", "<pad>", "</s>", ..."abcdefghijklmnopqrstuvwxyz0123456789.,Ġ"];
  tokens.push("th", "the", "Ġthe");
  return {
    version: "1.0",
    added_tokens: ["<s>", "<pad>", "</s>"].map((content, id) => ({
      id,
      content,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    post_processor: {
      type: "RobertaProcessing",
      sep: ["</s>", 2],
      cls: ["<s>", 0],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      unk_token: null,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["t h", "th e", "Ġ the"],
    },
  };
}

/** A Unigram that takes a whole text as one word, as T5's does. */
export function unigram(): Record<string, unknown> {
  return {
    added_tokens: [{ id: 0, content: "<unk>", special: true }],
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
    model: {
      type: "Unigram",
      unk_id: 0,
      vocab: [["<unk>", 0], ["▁", -2], ["▁a", -1], ["b", -1.5], ["a", -1.5]],
    },
  };
}
