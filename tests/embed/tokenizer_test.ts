import { Tokenizer } from "@huggingface/tokenizers";
import { InputError } from "../../lib/base/errors.ts";
import { loadTokenizer } from "../../lib/embed/tokenizer/load.ts";
import { type Random, randomFrom } from "../../scripts/models/random.ts";
import {
  tokenizerJson,
  type TokenizerOptions,
  vocabulary,
  word,
} from "../../scripts/models/tokenizer_json.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { bpe, unigram } from "./tokenizers.ts";

const TOKENS = vocabulary(2000, 3);
const FULL_SWEEP = Deno.env.get("OPDBUS_TEST_FULL") !== undefined;

async function pair(options: TokenizerOptions = {}, tokens = TOKENS) {
  const definition = tokenizerJson(tokens, options);
  const ours = await loadTokenizer({
    definition: JSON.stringify(definition),
    path: "tokenizer.json",
  });
  return { ours, theirs: new Tokenizer(definition, {}) };
}

/** Fails with the first text that our ids and the library's differ on. */
function assertSame(
  { ours, theirs }: Awaited<ReturnType<typeof pair>>,
  texts: Iterable<string>,
): void {
  for (const text of texts) {
    const a = [...ours.encode(text, 0).ids], b = theirs.encode(text).ids;
    if (a.join() !== b.join()) assertEquals(a, b, JSON.stringify(text));
  }
}

const PIECES = [
  ..."日本語東京カタカナ한국어中文㐀豈𠀀𪜀",
  ..."ÄÖÜßéèêñçåøæœłžščİıﬁǆΣςσ",
  "e\u0301",
  "a\u0300\u0316",
  "\u1100\u1161\u11a8",
  "Ω",
  "Å",
  ..."абвгдЖЗЇґאבגمرحبا๑ก็हिन्दी",
  ..."😀🚀👍🏽👨‍👩‍👧‍👦🇩🇪❤️",
  ..."\0\x01\x07\x0b\x0c\x1b\x7f\x85\xa0\xad\u200b\u200d\u2028\u2029\u3000\ufeff\ufffd",
  "\ue000",
  "\ud800",
  "\udc00",
  ..."!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”«»—…¿¡、。€£°±×÷√∞",
  "[CLS]",
  "[SEP]",
  "[PAD]",
  "[MASK]",
  "[UNK]",
  "[cls]",
  "[C",
  "LS]",
  "##ing",
  " ",
  "  ",
  "\t",
  "\n",
  "\r\n",
  "0",
  "1234567890",
  "x".repeat(99),
  "x".repeat(101),
  "é".repeat(101),
  "𠀀".repeat(60),
];

function mixed(random: Random): string {
  let text = "";
  for (let left = Math.floor(random() * 24); left > 0; left--) {
    text += random() < 0.5 ? word(random) : PIECES[Math.floor(random() * PIECES.length)]!;
    if (random() < 0.4) text += " ";
    if (random() < 0.1) text = text.toUpperCase();
  }
  return text;
}

const VARIANTS: Readonly<Record<string, TokenizerOptions>> = {
  "uncased": {},
  "cased": { lowercase: false },
  "lower case with accents": { stripAccents: false },
  "cased without accents": { lowercase: false, stripAccents: true },
  "without clean-up": { cleanText: false },
  "without spaces around ideographs": { handleChinese: false },
  "with the old post-processor": { processor: "bert" },
};
for (const [name, options] of Object.entries(VARIANTS)) {
  Deno.test(`WordPiece gives the library's ids, ${name}`, async () => {
    const both = await pair(options);
    assertEquals(both.ours.kind, "wordpiece");
    const random = randomFrom(11);
    const count = FULL_SWEEP ? 100_000 : 4000;
    assertSame(both, Array.from({ length: count }, () => mixed(random)));
  });
}

Deno.test("WordPiece gives the library's ids around every code point", async () => {
  const both = await pair();
  const step = FULL_SWEEP ? 1 : 17;
  function* around() {
    for (let code = 0; code < 0x110000; code += code < 0x3100 ? 1 : step) {
      const character = String.fromCodePoint(code);
      yield `a${character}b ${character}`;
    }
  }
  assertSame(both, around());
});

Deno.test("WordPiece gives the library's ids on the project's own prose", async () => {
  const both = await pair();
  const file = new URL("../data/host-notes.txt", import.meta.url);
  assertSame(both, (await Deno.readTextFile(file)).split("\n"));
});

Deno.test("a long text is cut as the library would, special tokens kept", async () => {
  const { ours, theirs } = await pair();
  const random = randomFrom(5);
  const long = {
    plain: Array.from({ length: 50_000 }, () => word(random)).join(" "),
    mixed: Array.from({ length: 20_000 }, () => mixed(random).replaceAll("[", "(")).join(
      " ",
    ),
    "without a space": "日本語x".repeat(40_000),
    "of letters only": "abc".repeat(40_000),
    "of accents and no-break spaces": "e\u0301\u00a0ΑΣ😀".repeat(9_000),
    "with a literal special token": "[SEP] word ".repeat(2000),
  };
  for (const [name, text] of Object.entries(long)) {
    const whole = theirs.encode(text).ids;
    for (const limit of [3, 64, 512]) {
      const { ids, truncated } = ours.encode(text, limit);
      const expected = whole.length > limit
        ? [...whole.slice(0, limit - 1), whole.at(-1)!]
        : whole;
      assertEquals([...ids], expected, `${name}, limit ${limit}`);
      assertEquals(truncated, whole.length > limit);
    }
  }
  const exact = ours.encode("a b c", 5);
  assertEquals([exact.ids.length, exact.truncated], [5, false]);
  assertEquals(ours.encode("a b c d", 5).truncated, true);
});

Deno.test("tokens that are matched after clean-up go to the library", async () => {
  const definition = tokenizerJson(TOKENS);
  (definition.added_tokens as unknown[]).push({
    id: TOKENS.length,
    content: "Special",
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: true,
    special: false,
  });
  const ours = await loadTokenizer({ definition: JSON.stringify(definition), path: "t" });
  assertEquals(ours.kind, "library");
  assertEquals(ours.largestId, TOKENS.length);
  const theirs = new Tokenizer(definition, {});
  assertSame({ ours, theirs }, ["special words", "SPECIAL", "unspecial x"]);
});

Deno.test("what our own WordPiece would do otherwise goes to the library", async () => {
  const whole = tokenizerJson(TOKENS.slice(0, 300));
  const { model, added_tokens } = whole as { model: object; added_tokens: object[] };
  const token = { id: 5, special: true, normalized: false };
  const changes: readonly (readonly [object, object?])[] = [
    [{ model: { ...model, fuse_unk: true } }],
    [{
      model: { ...model, vocab: { ...(model as { vocab: object }).vocab, "\ud800": 9 } },
    }],
    [{ normalizer: { type: "Lowercase" } }],
    [{ pre_tokenizer: { type: "Whitespace" } }],
    [{ added_tokens: [...added_tokens, { ...token, content: "a b" }] }],
    [{ added_tokens: [...added_tokens, { ...token, content: "" }] }],
    [{}, { remove_space: true }],
    [{}, { do_lowercase_and_remove_accent: true }],
  ];
  for (const [change, config = {}] of changes) {
    const definition = JSON.stringify({ ...whole, ...change });
    const files = { definition, config: JSON.stringify(config), path: "t" };
    assertEquals((await loadTokenizer(files)).kind, "library", JSON.stringify([change]));
  }
});

Deno.test("BPE and Unigram run through the library, with truncation", async () => {
  const roberta = await loadTokenizer({ definition: JSON.stringify(bpe()), path: "t" });
  assertEquals(roberta.kind, "library");
  assertEquals(roberta.padId, 1);
  assertEquals(roberta.encode("the cat the", 0).ids.length, 2 + 6);
  const cut = roberta.encode("the cat the", 4);
  assertEquals([cut.ids[0], cut.ids[3], cut.truncated], [0, 2, true]);
  const t5 = await loadTokenizer({ definition: JSON.stringify(unigram()), path: "t" });
  assertEquals([...t5.encode("ab b", 0).ids], [2, 3, 1, 3]);
  assertEquals(t5.encode("ab b", 2).truncated, true);
});

Deno.test("damaged and unsupported tokenizers are refused in one line", async () => {
  const load = (definition: string) => loadTokenizer({ definition, path: "/m/t.json" });
  const whole = JSON.stringify(tokenizerJson(TOKENS.slice(0, 300)));
  const unknown = { ...tokenizerJson(TOKENS.slice(0, 300)), model: { type: "Quantum" } };
  for (
    const [text, pattern] of [
      [whole.slice(0, -10), /t\.json/],
      ["", /t\.json/],
      ["[]", /t\.json/],
      ["{}", /model/],
      ['{"model":null}', /model/],
      ['{"model":{"type":"WordPiece"}}', /t\.json/],
      [JSON.stringify(unknown), /Quantum|t\.json/],
      ['{"added_tokens":[{"id":-1,"content":"x"}],"model":{}}', /added_tokens/],
    ] as const
  ) {
    const error = await assertRejects(() => load(text), InputError, pattern);
    assertTrue(!error.message.includes("\n"));
  }
});

const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const BEFORE = String.raw`[^\r\n\p{L}\p{N}]?`;
const ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;

/** As in published files, and plain ones. */
const PUBLISHED: Readonly<Record<string, string>> = {
  "GPT-2": String
    .raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  "Llama 3": String
    .raw`${ENDING}|${BEFORE}\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`,
  "Qwen 2": String
    .raw`${ENDING}|${BEFORE}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|${SPACES}`,
  "GPT-4o": String
    .raw`${BEFORE}${UPPER}*${LOWER}+${ENDING}?|${BEFORE}${UPPER}+${LOWER}*${ENDING}?|${SPACES}`,
  "CLIP": String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
  "Bloom": String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
  "DeepSeek": String
    .raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_{|}~][A-Za-z]+|${BEFORE}[\p{L}\p{M}]+|${SPACES}`,
  "an intersection of classes": String
    .raw`[\p{Han}]+|${BEFORE}[\p{L}&&[^\p{Han}]]*\p{N}|${BEFORE}[\p{L}&&[^\p{Han}]]+`,
  "runs of spaces": " {2,}",
  "three digits": "[0-9][0-9][0-9]",
  "a number": String.raw`\d+(?:\.\d+)?`,
  "words": String.raw`\w+|[^\w\s]+`,
};

/** A tokenizer that splits at an expression, and the same as a normalizer. */
function splitting(Regex: string): Record<string, unknown>[] {
  const split = {
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
  };
  const replace = { type: "Replace", pattern: { Regex }, content: "b" };
  return [
    { ...bpe(), pre_tokenizer: { type: "Sequence", pretokenizers: [split] } },
    { ...bpe(), normalizer: { type: "Sequence", normalizers: [replace] } },
  ];
}

for (const [name, pattern] of Object.entries(PUBLISHED)) {
  Deno.test(`the regular expression of ${name} is taken`, async () => {
    for (const definition of splitting(pattern)) {
      const text = JSON.stringify(definition);
      const ours = await loadTokenizer({ definition: text, path: "t" });
      const theirs = new Tokenizer(definition as never, {});
      assertSame({ ours, theirs }, ["The cat's 12345 x\n\n  東京", "  a.b  "]);
    }
  });
}

Deno.test("regular expressions that could take for ever are refused", async () => {
  for (
    const [pattern, why] of [
      ["(a+)+$", /repeats what has a repetition/],
      ["(?:a+)b", /repeats what has a repetition/],
      ["(?:a+){2}", /repeats what has a repetition/],
      ["(?:a|a)*b", /may fail/],
      ["(?:a|aa)+$", /may fail/],
      ["a*a*b", /twice/],
      [String.raw`\s+$`, /may fail/],
      [".*x|.", /may fail/],
      ["a*b|c|a+", /may fail/],
      ["abc*d|abc+", /may fail/],
      ["[xa]a*b|ya+", /may fail/],
      ["[xa]{3}a*b|[xa]{3}a+", /may fail/],
      ["(?-i:a)", /kind that is not known/],
      ["a*b|a{2,}", /may fail/],
      ["a{600}b|a{600}c", /too many ways/],
      ["(?:a*b)*", /may fail/],
      ["(?=.*x)a", /may fail/],
      ["(?<=a+)b", /may fail/],
      [String.raw`(a)\1`, /refers back/],
      [String.raw`(?<n>a)\k<n>`, /refers back/],
      ["a+?b", /as little/],
      ["(?:a?){30}a{30}", /too many ways/],
      ["a{1,9999}", /too many ways/],
      ["(?:a{9}){9999999}b", /too many ways/],
      ["(".repeat(30) + "a" + ")".repeat(30), /nested/],
      ["a".repeat(2001), /too long/],
    ] as const
  ) {
    for (const definition of splitting(pattern)) {
      const load = () =>
        loadTokenizer({ definition: JSON.stringify(definition), path: "/m/t.json" });
      const error = await assertRejects(load, InputError, why);
      const shown = JSON.stringify(pattern).slice(0, 100);
      assertTrue(error.message.startsWith("Cannot use the tokenizer /m/t.json: "));
      assertTrue(error.message.includes(shown), error.message);
      assertTrue(!error.message.includes("\n"));
    }
  }
});

Deno.test("a decoder's expressions are not run, so any will do", async () => {
  const decoder = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "" };
  const definition = JSON.stringify({ ...bpe(), decoder });
  const { ids } = (await loadTokenizer({ definition, path: "t" })).encode("the", 0);
  assertEquals(ids.length, 3);
});

Deno.test("padding takes its id from the files", async () => {
  const definition = JSON.stringify(tokenizerJson(TOKENS));
  const padOf = async (config?: string) =>
    (await loadTokenizer({ definition, path: "t", ...(config && { config }) })).padId;
  assertEquals(await padOf(), TOKENS.indexOf("[PAD]"));
  assertEquals(await padOf('{"pad_token":"[SEP]"}'), TOKENS.indexOf("[SEP]"));
  const asObject = '{"pad_token":{"content":"[MASK]"}}';
  assertEquals(await padOf(asObject), TOKENS.indexOf("[MASK]"));
});
