/** A BERT WordPiece tokenizer.json in any size, made of syllables and single characters. */
import { type Random, randomFrom } from "./random.ts";

/** Ids of the special tokens where the vocabulary is large: bert-base-uncased's own. */
const BERT_IDS = { "[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103 };
/** The same for a small vocabulary. */
const SMALL_IDS = { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4 };
const SMALL_VOCABULARY = 1000;

/** Settings of the normaliser, as in BERT's cased and uncased models. */
export interface TokenizerOptions {
  readonly lowercase?: boolean;
  readonly stripAccents?: boolean | null;
  readonly handleChinese?: boolean;
  readonly cleanText?: boolean;
  /** `template` as fast tokenizers write it, or the older `bert` post-processor. */
  readonly processor?: "template" | "bert";
}

/** Characters that stand in the vocabulary alone and as `##` continuations. */
const SINGLE = [
  ..."abcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
  ..."äöüßéèêñçåøæœłžšč",
  ..."абвгдежзийклмнопрстуфхцчшщъыьэюя",
  ..."αβγδεζηθικλμνξοπρστυφχψως",
  ..."אבגדהוזחטיכלמנסעפצקרשתابتثجحخدذرزسشصضطظعغفقكلمنهوي",
  ..."的一是不了人我在有他这中大来上国日月火水木金土カタひら한국어",
  ..."“”‘’—–…€£¥°±×÷→←∑√∞",
  ..."😀🚀👍🎉",
];

const ONSETS = ["b", "br", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "st"];
const MORE_ONSETS = ["t", "tr", "v", "w", "z", "k", "sh", "ch", "th", "j"];
const VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou"];
const CODAS = ["", "", "n", "r", "s", "t", "l", "m", "ng", "nd"];

/** A made-up word of one to four syllables. */
export function word(random: Random): string {
  const pick = (from: readonly string[]) => from[Math.floor(random() * from.length)]!;
  let text = "";
  for (let left = 1 + Math.floor(random() * 3.2); left > 0; left--) {
    text += pick(random() < 0.6 ? ONSETS : MORE_ONSETS) + pick(VOWELS);
    if (left === 1 || random() < 0.3) text += pick(CODAS);
  }
  return text;
}

/** The vocabulary in the order of its ids. */
export function vocabulary(size: number, seed: number): string[] {
  const ids = size < SMALL_VOCABULARY ? SMALL_IDS : BERT_IDS;
  const taken = new Set<string>(Object.keys(ids));
  const rest: string[] = [];
  const add = (token: string) => {
    if (taken.has(token)) return;
    taken.add(token);
    rest.push(token);
  };
  for (const character of SINGLE) add(character);
  for (const character of SINGLE) add("##" + character);
  const random = randomFrom(seed);
  while (rest.length < size) add(random() < 0.2 ? "##" + word(random) : word(random));
  const out: string[] = new Array(size);
  for (const [token, id] of Object.entries(ids)) out[id] = token;
  for (let id = 0, next = 0; id < size; id++) out[id] ??= rest[next++]!;
  return out;
}

/** The whole of tokenizer.json, as an object. */
export function tokenizerJson(
  tokens: readonly string[],
  options: TokenizerOptions = {},
): Record<string, unknown> {
  const id = (token: string) => tokens.indexOf(token);
  const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((content) => ({
      id: id(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: options.cleanText ?? true,
      handle_chinese_chars: options.handleChinese ?? true,
      strip_accents: options.stripAccents ?? null,
      lowercase: options.lowercase ?? true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: postProcessor(options.processor ?? "template", id),
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, at) => [token, at])),
    },
  };
}

function postProcessor(kind: "template" | "bert", id: (token: string) => number) {
  if (kind === "bert") {
    return {
      type: "BertProcessing",
      sep: ["[SEP]", id("[SEP]")],
      cls: ["[CLS]", id("[CLS]")],
    };
  }
  const special = (token: string, type_id = 0) => ({
    SpecialToken: { id: token, type_id },
  });
  const sequence = (name: string, type_id = 0) => ({ Sequence: { id: name, type_id } });
  const entry = (token: string) => ({ id: token, ids: [id(token)], tokens: [token] });
  return {
    type: "TemplateProcessing",
    single: [special("[CLS]"), sequence("A"), special("[SEP]")],
    pair: [
      special("[CLS]"),
      sequence("A"),
      special("[SEP]"),
      sequence("B", 1),
      special("[SEP]", 1),
    ],
    special_tokens: { "[CLS]": entry("[CLS]"), "[SEP]": entry("[SEP]") },
  };
}
