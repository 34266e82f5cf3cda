/**
 * What a tokenizer.json may ask of the library: models come from strangers. What is refused
 * here would keep the library busy for ever, or make much out of a short text.
 */
import type { InputError } from "../../base/errors.ts";
import { objectsIn, type TokenizerDefinition } from "./definition.ts";
import { refused } from "./patterns.ts";

/** Steps of the clean-up and the splitting; the known ones have some ten. */
const MAX_STEPS = 100;
/** Longest text that a step puts in, in UTF-16 units. The known ones have up to five. */
const MAX_INSERTED_LENGTH = 32;
/** Tokens beside the vocabulary, and how long one may be: a text is searched for each. */
const MAX_ADDED_TOKENS = 20_000;
const MAX_ADDED_LENGTH = 1_000;
/** The library makes a table up to the largest id. The known ones end at 300,000. */
const MAX_ID = 10_000_000;
/** The library tries every part of a word, the third power of this; it is 100 or 200. */
const MAX_WORD_CHARACTERS = 200;

/**
 * Replacement texts in which JavaScript puts something else for the dollar sign. Other
 * tokenizers mean the sign itself, so the ids would be wrong as well.
 */
const SUBSTITUTION = /\$[$&`'\d<]/;

type Step = Readonly<Record<string, unknown>>;

/**
 * Checks a definition before the library gets it.
 *
 * @param path for messages
 * @throws {InputError} naming what is too much
 */
export function checkLimits(definition: TokenizerDefinition, path: string): void {
  const refuse = (why: string) => refused(path, why);
  const { normalizer, pre_tokenizer, post_processor } = definition;
  const steps = [...objectsIn([normalizer, pre_tokenizer, post_processor])]
    .filter(({ type }) => typeof type === "string");
  if (steps.length > MAX_STEPS) throw refuse(`it has more than ${MAX_STEPS} steps`);
  for (const step of steps) checkStep(step, refuse);
  const added = definition.added_tokens ?? [];
  if (added.length > MAX_ADDED_TOKENS) {
    throw refuse(`it has more than ${MAX_ADDED_TOKENS} added tokens`);
  }
  for (const { id, content } of added) {
    if (content.length > MAX_ADDED_LENGTH) {
      throw refuse(`it has an added token of ${content.length} characters`);
    }
    if (id > MAX_ID) throw refuse(`it has a token with the id ${id}`);
  }
  checkModel(definition.model, refuse);
}

function checkModel(
  model: TokenizerDefinition["model"],
  refuse: (why: string) => InputError,
): void {
  // A list gives the ids by the places.
  if (!Array.isArray(model.vocab)) {
    for (const id of Object.values(model.vocab) as unknown[]) {
      if (Number.isInteger(id) && id as number >= 0 && id as number <= MAX_ID) continue;
      throw refuse(`it has a token with the id ${JSON.stringify(id)?.slice(0, 40)}`);
    }
  }
  const longest = model["max_input_chars_per_word"] ?? 0;
  if (typeof longest !== "number" || !(longest <= MAX_WORD_CHARACTERS)) {
    throw refuse(`its max_input_chars_per_word is over ${MAX_WORD_CHARACTERS}`);
  }
}

function checkStep(step: Step, refuse: (why: string) => InputError): void {
  for (const key of ["content", "prepend", "replacement", "str_rep"]) {
    const text = step[key] ?? "";
    const sound = typeof text === "string" && text.length <= MAX_INSERTED_LENGTH &&
      !SUBSTITUTION.test(text);
    if (!sound) {
      throw refuse(`its ${step["type"]} puts in ${JSON.stringify(text).slice(0, 100)}`);
    }
  }
  const { type, length } = step;
  if (type === "FixedLength" && !(Number.isInteger(length) && length as number >= 1)) {
    throw refuse(`it splits texts into pieces of the length ${JSON.stringify(length)}`);
  }
  if (type === "TemplateProcessing" && Array.isArray(step["single"])) {
    const parts = (step["single"] as unknown[]).filter((item) =>
      typeof item === "object" && item !== null && "Sequence" in item
    );
    if (parts.length > 1) throw refuse("it puts a text in more than once");
  }
}
