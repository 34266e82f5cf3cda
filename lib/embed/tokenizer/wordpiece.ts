/**
 * BERT's WordPiece: the longest piece that the vocabulary has, then the longest of the
 * rest (Devlin et al. 2019). Used where it gives the library's ids; {@link wordPieceOf}
 * decides.
 */
import { type BertNormaliser, normalise, words } from "./bert_normalise.ts";
import type { TokenizerConfig, TokenizerDefinition } from "./definition.ts";
import type { Encoded } from "./tokenizer.ts";

/** Words remembered with their pieces; forgotten all at once when full. */
const MAX_REMEMBERED_WORDS = 32_768;
/** Longer words are rarely seen twice. */
const MAX_REMEMBERED_LENGTH = 32;
/** First piece of a long text to look at, in UTF-16 units per token of the limit. */
const UNITS_PER_TOKEN = 16;
/** Text that needs no clean-up but lower case. */
const PLAIN = /^[\t\n\r\x20-\x7e]*$/;

const SPACE = 0x20;

/** What decides the ids. */
interface WordPieceSettings {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly unknownId: number;
  readonly continuation: string;
  readonly maxWordCharacters: number;
  readonly normaliser: BertNormaliser;
  /** Ids before and after every text. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Matches a text with a literal special token, which the library must do. */
  readonly special: RegExp | null;
}

/** The tokenizer; null from {@link encode} means: ask the library. */
export class WordPiece {
  readonly #settings: WordPieceSettings;
  readonly #remembered = new Map<string, readonly number[]>();
  readonly #longest: number;
  readonly largestId: number;

  constructor(settings: WordPieceSettings) {
    this.#settings = settings;
    let longest = 0, largestId = 0;
    for (const [token, id] of settings.vocabulary) {
      longest = Math.max(longest, token.length);
      largestId = Math.max(largestId, id);
    }
    this.#longest = longest;
    this.largestId = largestId;
  }

  /** The id of a token, where the vocabulary has it. */
  idOf(token: string): number | undefined {
    return this.#settings.vocabulary.get(token);
  }

  /** See {@link TextTokenizer.encode}. */
  encode(text: string, limit: number): Encoded | null {
    const { before, after, special } = this.#settings;
    if (special?.test(text)) return null;
    const around = before.length + after.length;
    const room = limit === 0 ? Infinity : Math.max(0, limit - around);
    const pieces = PLAIN.test(text) && this.#settings.normaliser.cleanText
      ? this.#plain(text, room)
      : this.#mixed(text, room);
    const kept = Math.min(pieces.length, room);
    const ids = new Int32Array(kept + around);
    ids.set(before);
    for (let i = 0; i < kept; i++) ids[before.length + i] = pieces[i]!;
    ids.set(after, before.length + kept);
    return { ids, types: null, truncated: pieces.length > room };
  }

  /** ASCII: words and punctuation marks by character codes. Stops past `room` pieces. */
  #plain(text: string, room: number): number[] {
    const lower = this.#settings.normaliser.lowercase ? text.toLowerCase() : text;
    const out: number[] = [];
    let start = -1;
    for (let at = 0; at < lower.length; at++) {
      const code = lower.charCodeAt(at);
      if (isWordCode(code)) {
        if (start < 0) start = at;
        continue;
      }
      if (start >= 0) this.#add(out, lower.slice(start, at));
      start = -1;
      if (code > SPACE) this.#add(out, lower[at]!);
      if (out.length > room) return out;
    }
    if (start >= 0) this.#add(out, lower.slice(start));
    return out;
  }

  /**
   * Any text. A long one is looked at from its start in growing parts that end at a
   * space: what follows a space cannot change the pieces before it. Where there is none,
   * the last word may go on, but those before it are whole.
   */
  #mixed(text: string, room: number): number[] {
    let end = room === Infinity ? text.length : (room + 1) * UNITS_PER_TOKEN;
    for (;; end *= 4) {
      const isAll = end >= text.length;
      const space = isAll ? text.length : text.lastIndexOf(" ", end);
      const part = text.slice(0, space > 0 ? space : end);
      const found = words(normalise(part, this.#settings.normaliser));
      const whole = space > 0 || isAll ? found.length : found.length - 1;
      const out: number[] = [];
      for (let at = 0; at < whole; at++) {
        this.#add(out, found[at]!);
        if (out.length > room) return out;
      }
      if (isAll) return out;
    }
  }

  #add(out: number[], word: string): void {
    let pieces = this.#remembered.get(word);
    if (!pieces) {
      pieces = this.#split(word);
      if (word.length <= MAX_REMEMBERED_LENGTH) {
        if (this.#remembered.size >= MAX_REMEMBERED_WORDS) this.#remembered.clear();
        this.#remembered.set(word, pieces);
      }
    }
    for (const piece of pieces) out.push(piece);
  }

  #split(word: string): readonly number[] {
    const { vocabulary, unknownId, continuation, maxWordCharacters } = this.#settings;
    if (word.length > maxWordCharacters && characters(word) > maxWordCharacters) {
      return [unknownId];
    }
    const out: number[] = [];
    for (let start = 0; start < word.length;) {
      let end = Math.min(word.length, start + this.#longest);
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = word.slice(start, end);
        id = vocabulary.get(start > 0 ? continuation + piece : piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return [unknownId];
      out.push(id);
      start = end;
    }
    return out;
  }
}

function isWordCode(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a);
}

function characters(word: string): number {
  let count = 0;
  for (const _ of word) count++;
  return count;
}

/** A special token at its place around the text, or null where the kind is another. */
function frame(
  definition: TokenizerDefinition,
  idOf: (token: string) => number | undefined,
): { before: number[]; after: number[] } | null {
  const processor = definition.post_processor as
    | { type: string; single?: unknown; cls?: unknown; sep?: unknown }
    | null
    | undefined;
  const ids = (tokens: readonly unknown[]): number[] | null => {
    const out = tokens.map((token) =>
      typeof token === "string" ? idOf(token) : undefined
    );
    return out.every((id) => id !== undefined) ? out as number[] : null;
  };
  let tokens: readonly unknown[], sequence: number;
  if (processor?.type === "BertProcessing") {
    const first = (pair: unknown) => Array.isArray(pair) ? pair[0] : undefined;
    tokens = [first(processor.cls), first(processor.sep)];
    sequence = 1;
  } else if (
    processor?.type === "TemplateProcessing" && Array.isArray(processor.single)
  ) {
    const single = processor.single as readonly TemplateItem[];
    sequence = single.findIndex((item) => item.Sequence?.id === "A");
    const others = single.filter((_, at) => at !== sequence);
    const plain = single.every((item) =>
      (item.Sequence ?? item.SpecialToken)?.type_id === 0
    );
    if (sequence < 0 || !plain || others.some((item) => !item.SpecialToken)) return null;
    tokens = others.map((item) => item.SpecialToken!.id);
  } else return null;
  const before = ids(tokens.slice(0, sequence)), after = ids(tokens.slice(sequence));
  return before && after ? { before, after } : null;
}

interface TemplateItem {
  readonly Sequence?: { readonly id: string; readonly type_id: number };
  readonly SpecialToken?: { readonly id: string; readonly type_id: number };
}

/**
 * The fast tokenizer of a definition, or null where it would not give the library's ids:
 * another algorithm, another clean-up, special tokens that are matched after clean-up.
 */
export function wordPieceOf(
  definition: TokenizerDefinition,
  config: TokenizerConfig,
): WordPiece | null {
  const { model, normalizer, pre_tokenizer } = definition;
  if (model.type !== "WordPiece" || model["fuse_unk"] === true) return null;
  if (normalizer?.type !== "BertNormalizer") return null;
  if (pre_tokenizer?.type !== "BertPreTokenizer") return null;
  if (config["remove_space"] === true || config["do_lowercase_and_remove_accent"]) {
    return null;
  }
  const added = definition.added_tokens ?? [];
  // Tokens that are not special are looked for after clean-up unless they say otherwise.
  if (added.some((token) => token.normalized ?? !token.special)) return null;
  if (added.some(({ content }) => content === "" || /\s/.test(content))) return null;
  const vocabulary = vocabularyOf(model["vocab"], added);
  const continuation = model["continuing_subword_prefix"];
  const unknownId = vocabulary?.get(model["unk_token"] as string);
  const framing = vocabulary && frame(definition, (token) => vocabulary.get(token));
  if (!vocabulary || unknownId === undefined || !framing) return null;
  if (typeof continuation !== "string") return null;
  const maximum = model["max_input_chars_per_word"];
  return new WordPiece({
    vocabulary,
    unknownId,
    continuation,
    maxWordCharacters: typeof maximum === "number" ? maximum : 100,
    normaliser: {
      cleanText: Boolean(normalizer["clean_text"]),
      handleChinese: Boolean(normalizer["handle_chinese_chars"]),
      stripAccents: (normalizer["strip_accents"] ?? null) as boolean | null,
      lowercase: Boolean(normalizer["lowercase"]),
    },
    ...framing,
    special: added.length === 0
      ? null
      : new RegExp(added.map(({ content }) => RegExp.escape(content)).join("|")),
  });
}

function vocabularyOf(
  entries: unknown,
  added: readonly { readonly id: number; readonly content: string }[],
): Map<string, number> | null {
  if (typeof entries !== "object" || entries === null) return null;
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(entries)) {
    // Halves of surrogate pairs would match where the library, which goes by whole
    // characters, does not look.
    if (!Number.isInteger(id) || id < 0 || !token.isWellFormed()) return null;
    vocabulary.set(token, id);
  }
  for (const { id, content } of added) vocabulary.set(content, id);
  return vocabulary;
}
