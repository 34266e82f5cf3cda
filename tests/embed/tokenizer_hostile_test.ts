import { Tokenizer } from "@huggingface/tokenizers";
import { InputError } from "../../lib/base/errors.ts";
import { loadTokenizer } from "../../lib/embed/tokenizer/load.ts";
import { randomFrom } from "../../scripts/models/random.ts";
import { tokenizerJson, vocabulary, word } from "../../scripts/models/tokenizer_json.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { bpe, unigram } from "./tokenizers.ts";

const load = (definition: unknown) =>
  loadTokenizer({ definition: JSON.stringify(definition), path: "/m/t.json" });

/** The library's own ids, as one that gives no null for a section that is not there. */
function theirs(definition: Record<string, unknown>): Tokenizer {
  const none = { added_tokens: [], normalizer: null, pre_tokenizer: null };
  const whole = { ...none, post_processor: null, ...definition, decoder: null };
  return new Tokenizer(whole, {});
}

const times = (count: number, step: unknown) => Array.from({ length: count }, () => step);
const normalizers = (...steps: unknown[]) => ({
  ...bpe(),
  normalizer: { type: "Sequence", normalizers: steps },
});
const splitters = (...steps: unknown[]) => ({
  ...bpe(),
  pre_tokenizer: { type: "Sequence", pretokenizers: steps },
});
const replace = (content: unknown, pattern: unknown = { String: "a" }) => ({
  type: "Replace",
  pattern,
  content,
});
const metaspace = (replacement: string) => ({
  type: "Metaspace",
  replacement,
  prepend_scheme: "never",
});
const added = (...tokens: unknown[]) => ({ ...bpe(), added_tokens: tokens });
const model = (change: object) => {
  const whole = tokenizerJson(vocabulary(300, 1));
  return { ...whole, model: { ...whole["model"] as object, ...change } };
};
const SEQUENCE = { Sequence: { id: "A", type_id: 0 } };

/** What is refused before any text is seen, with why. */
const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ["doubles a text again and again", normalizers(...times(40, replace("aa"))), /makes/],
  ["doubles words again and again", splitters(...times(40, replace("aa"))), /makes/],
  ["puts in a long text", normalizers(replace("a".repeat(33))), /puts in/],
  ["puts in what was before", normalizers(replace("$`")), /puts in "\$`"/],
  ["puts in what is no text", normalizers(replace(["$`"])), /puts in/],
  [
    "puts much before a text",
    normalizers({ type: "Prepend", prepend: ["x".repeat(99)] }),
    /puts in/,
  ],
  ["puts much in for a space", splitters(metaspace("▁".repeat(33))), /puts in/],
  ["puts a text in twice", {
    ...bpe(),
    post_processor: {
      type: "Sequence",
      processors: times(40, { type: "TemplateProcessing", single: [SEQUENCE, SEQUENCE] }),
    },
  }, /more than once/],
  ["puts much around a text", {
    ...bpe(),
    post_processor: {
      type: "TemplateProcessing",
      single: [SEQUENCE, ...times(101, { SpecialToken: { id: "<s>", type_id: 0 } })],
    },
  }, /101 special tokens/],
  ["has many steps", normalizers(...times(101, { type: "Lowercase" })), /100 steps/],
  [
    "splits into pieces of nothing",
    splitters({ type: "FixedLength", length: 0 }),
    /length 0/,
  ],
  ["splits into pieces of no length", splitters({ type: "FixedLength" }), /length/],
  ["has a long added token", added({ id: 0, content: "a".repeat(1001) }), /1001 char/],
  [
    "has many added tokens",
    added(...times(20_001, { id: 0, content: "x" })),
    /20000 added/,
  ],
  [
    "has an added token's id that is too large",
    added({ id: 4e9, content: "x" }),
    /id 4000000000/,
  ],
  ["has an id that is too large", model({ vocab: { "[UNK]": 4e9 } }), /id 4000000000/],
  ["has an id that is none", model({ vocab: { "[UNK]": "0" } }), /id "0"/],
  ["takes very long words apart", model({ max_input_chars_per_word: 1e9 }), /max_input/],
];
for (const [name, definition, why] of REFUSED) {
  Deno.test(`a tokenizer that ${name} is refused`, async () => {
    const error = await assertRejects(() => load(definition), InputError, why);
    assertEquals(error.code, "unsafe_tokenizer");
    assertTrue(error.message.startsWith("Cannot use the tokenizer /m/t.json: it"));
    assertTrue(!error.message.includes("\n") && error.message.length < 300);
  });
}

Deno.test("over a hundred expressions, and a text that is left out, are refused", async () => {
  const junk = (at: number) => ({ pattern: { Regex: `a{${at + 1}}` } });
  const step = {
    type: "Lowercase",
    junk: Array.from({ length: 101 }, (_, at) => junk(at)),
  };
  const many = normalizers(step);
  await assertRejects(() => load(many), InputError, /more than 100 regular expressions/);
  const post_processor = { type: "TemplateProcessing", single: [] };
  const without = { ...bpe(), post_processor };
  await assertRejects(() => load(without), InputError, /special tokens around a text$/);
});

Deno.test("a text that a tokenizer makes much of is refused when it comes", async () => {
  const long = "a".repeat(1000);
  for (
    const [definition, text] of [
      [normalizers(...times(8, replace("aa"))), long],
      [splitters(...times(8, replace("aa"))), long],
      [splitters(...times(8, metaspace("  "))), " ".repeat(1000)],
      [splitters(...times(8, { type: "ByteLevel", use_regex: false })), "é".repeat(1000)],
    ] as const
  ) {
    const tokenizer = await load(definition);
    assertTrue(tokenizer.encode("a é", 0).ids.length > 0);
    const encode = () => Promise.resolve().then(() => tokenizer.encode(text, 64));
    const error = await assertRejects(encode, InputError, /makes \d+ characters of 1000/);
    assertEquals(error.code, "unsafe_tokenizer");
    // The next text is measured by its own length.
    assertTrue(tokenizer.encode("a é", 64).ids.length > 0);
  }
});

Deno.test("of a long text only the start is looked at", async () => {
  const tokenizer = await load(normalizers(...times(8, replace("aa"))));
  const text = "b ".repeat(1000) + "a".repeat(10_000);
  const { ids, truncated } = tokenizer.encode(text, 64);
  assertEquals([ids.length, truncated], [64, true]);
  const encode = () => Promise.resolve().then(() => tokenizer.encode(text, 3000));
  await assertRejects(encode, InputError, /makes/);
});

Deno.test("the list of special tokens, which only decoding asks for, is not read", async () => {
  const config = JSON.stringify({ additional_special_tokens: 5 });
  const files = { definition: JSON.stringify(bpe()), config, path: "t" };
  assertEquals((await loadTokenizer(files)).encode("the", 0).ids.length, 3);
});

Deno.test("what published tokenizers do with a text is let through", async () => {
  // NFKC makes 18 characters of this one; ALBERT has most of these steps.
  const steps = [replace('"', { String: "``" }), { type: "NFKD" }, { type: "Lowercase" }];
  const tokenizer = await load(normalizers(...steps, { type: "Precompiled" }));
  assertTrue(tokenizer.encode("\ufdfa".repeat(2000), 0).ids.length > 0);
  const dollar = await load(normalizers(replace("$", { String: "€" })));
  assertTrue(dollar.encode("€ a", 0).ids.length > 0);
});

Deno.test("a long text is cut as the whole would be, by a part of it", async () => {
  const random = randomFrom(9);
  const texts = [
    Array.from({ length: 6000 }, () => word(random)).join(" "),
    Array.from({ length: 6000 }, () => "ab☃"[Math.floor(random() * 3)]).join(""),
    "the cat the 😀".repeat(2000),
    "a   ".repeat(3000) + "b\n\n".repeat(3000),
    // The start is few tokens: it takes a larger part.
    "☃".repeat(30_000) + "abab".repeat(900),
  ];
  for (const definition of [bpe(), unigram()]) {
    const ours = await load(definition), whole = theirs(definition);
    const after = definition["post_processor"] ? 1 : 0;
    for (const [at, text] of texts.entries()) {
      const all = whole.encode(text).ids;
      for (const limit of [3, 64, 512]) {
        const { ids, truncated } = ours.encode(text, limit);
        const expected = all.length > limit
          ? [...all.slice(0, limit - after), ...all.slice(all.length - after)]
          : all;
        assertEquals([...ids], expected, `text ${at}, limit ${limit}`);
        assertEquals(truncated, all.length > limit);
      }
    }
  }
});

Deno.test("a text of 100,000 words is cut by every kind of tokenizer", async () => {
  for (const definition of [bpe(), unigram()]) {
    const { ids, truncated } = (await load(definition)).encode(
      "ab ".repeat(100_000),
      512,
    );
    assertEquals([ids.length, truncated], [512, true]);
  }
});

Deno.test("unknown characters in a row are one token, however many", async () => {
  const ours = await load(unigram()), whole = theirs(unigram());
  for (const text of ["☃", "☃☃a☃☃ ☃b", "<unk>☃☃<unk> ☃", "a☃☃☃"]) {
    assertEquals([...ours.encode(text, 0).ids], whole.encode(text).ids, text);
  }
  const cut = ours.encode("☃".repeat(150_000), 512);
  // The space before it, and the one token; what comes after so many is left out.
  assertEquals([[...cut.ids], cut.truncated], [[1, 0], true]);
});
