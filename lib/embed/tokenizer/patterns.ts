/** The regular expressions of a tokenizer: models come from strangers. */
import { InputError } from "../../base/errors.ts";
import { objectsIn, type TokenizerDefinition } from "./definition.ts";
import type { Library } from "./library.ts";
import { requireLinear } from "./regex_linear.ts";
import { UnsafeRegex } from "./regex_read.ts";

/** Longest expression, in UTF-16 units. The longest known ones have some 400. */
const MAX_PATTERN_LENGTH = 2_000;
/** Most of them; a tokenizer has a handful. */
const MAX_PATTERNS = 100;
/** How much of one a message shows. */
const SHOWN_LENGTH = 120;

/**
 * Refuses a tokenizer with an expression that could keep a thread busy for ever, before
 * anything runs it.
 *
 * @param library what will run them: it rewrites them, and the result is what is checked
 * @param definition whose normalizer and pre_tokenizer run; nothing here decodes
 * @param path for messages
 * @throws {InputError} naming the expression
 */
export function checkPatterns(
  library: Library,
  { normalizer, pre_tokenizer }: TokenizerDefinition,
  path: string,
): void {
  const patterns = patternsIn([normalizer, pre_tokenizer]);
  if (patterns.length > MAX_PATTERNS) {
    throw refused(path, `it has more than ${MAX_PATTERNS} regular expressions`);
  }
  for (const Regex of patterns) {
    const shown = JSON.stringify(
      Regex.length > SHOWN_LENGTH ? `${Regex.slice(0, SHOWN_LENGTH)}...` : Regex,
    );
    if (Regex.length > MAX_PATTERN_LENGTH) {
      throw refused(path, `the regular expression ${shown} is too long`);
    }
    const pattern = { Regex };
    const { pattern: compiled } = new library.ReplaceNormalizer(
      { type: "Replace", pattern, content: "" },
    );
    try {
      requireLinear(compiled!.source);
    } catch (error) {
      if (!(error instanceof UnsafeRegex)) throw error;
      const why = `the regular expression ${shown} could take for ever: ${error.message}`;
      throw refused(path, why);
    }
  }
}

/** Every `{"pattern": {"Regex": ...}}`, wherever it is nested. */
function patternsIn(sections: readonly unknown[]): string[] {
  const found = new Set<string>();
  for (const { pattern } of objectsIn(sections)) {
    const regex = (pattern as { Regex?: unknown } | null | undefined)?.Regex;
    if (typeof regex === "string") found.add(regex);
  }
  return [...found];
}

/** What a tokenizer is refused with that could harm. */
export function refused(path: string, why: string): InputError {
  return new InputError("unsafe_tokenizer", `Cannot use the tokenizer ${path}: ${why}`, {
    hint: "choose another model, or report this one if it is widely used",
  });
}
