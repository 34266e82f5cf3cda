/** The parts of tokenizer.json that op-dbus reads itself. */
import * as v from "valibot";
import { InputError } from "../../base/errors.ts";

const AddedToken = v.looseObject({
  id: v.pipe(v.number(), v.integer(), v.minValue(0)),
  content: v.string(),
  normalized: v.optional(v.boolean()),
  special: v.optional(v.boolean()),
});

/** Loose: what a tokenizer needs beyond this its own code checks. */
const Definition = v.looseObject({
  added_tokens: v.optional(v.nullable(v.array(AddedToken))),
  normalizer: v.optional(v.nullable(v.looseObject({ type: v.string() }))),
  pre_tokenizer: v.optional(v.nullable(v.looseObject({ type: v.string() }))),
  post_processor: v.optional(v.nullable(v.looseObject({ type: v.string() }))),
  decoder: v.optional(v.nullable(v.looseObject({}))),
  padding: v.optional(v.nullable(v.looseObject({}))),
  model: v.looseObject({
    // Files of early versions name no type; the library tells them by their keys.
    type: v.optional(v.picklist(["WordPiece", "BPE", "Unigram"])),
    // Looked into by whoever reads it: a copy of 250,000 entries would cost too much.
    vocab: v.custom<object>((value) => typeof value === "object" && value !== null),
  }),
});

/** tokenizer.json, checked as far as op-dbus looks into it. */
export type TokenizerDefinition = v.InferOutput<typeof Definition>;

/** tokenizer_config.json: any JSON object. */
export type TokenizerConfig = Readonly<Record<string, unknown>>;

/**
 * Reads tokenizer.json.
 *
 * @param text the file's content
 * @param path for messages
 * @throws {InputError} when it is not JSON or not a tokenizer
 */
export function parseDefinition(text: string, path: string): TokenizerDefinition {
  const parsed = v.safeParse(Definition, parseJson(text, path));
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  const key = v.getDotPath(issue) ?? "the whole file";
  throw new InputError(
    "bad_tokenizer",
    `Cannot read the tokenizer ${path}: ${key}: ${issue.message}`,
    { hint: "op-dbus needs the tokenizer.json of a fast (Rust) tokenizer" },
  );
}

/** {@link parseDefinition} for tokenizer_config.json. */
export function parseConfig(text: string, path: string): TokenizerConfig {
  const parsed = v.safeParse(v.record(v.string(), v.unknown()), parseJson(text, path));
  if (parsed.success) return parsed.output;
  const message = `Cannot read the tokenizer settings ${path}: not a JSON object`;
  throw new InputError("bad_tokenizer", message);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(
      "bad_tokenizer",
      `Cannot read the tokenizer ${path}: ${(error as Error).message}`,
      { cause: error, hint: "fetch the file again: it is cut short or no JSON" },
    );
  }
}

/** Every object in some sections of a definition, wherever it is nested; lists as well. */
export function* objectsIn(
  sections: readonly unknown[],
): Generator<Readonly<Record<string, unknown>>> {
  const left = [...sections];
  while (left.length > 0) {
    const value = left.pop();
    if (typeof value !== "object" || value === null) continue;
    yield value as Readonly<Record<string, unknown>>;
    for (const inner of Object.values(value)) left.push(inner);
  }
}
