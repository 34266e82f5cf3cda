/** The tokenizer of a model folder: the fast one where it is exact, else the library's. */
import {
  parseConfig,
  parseDefinition,
  type TokenizerConfig,
  type TokenizerDefinition,
} from "./definition.ts";
import { LibraryTokenizer } from "./library.ts";
import { checkLimits } from "./limits.ts";
import type { Encoded, TextTokenizer } from "./tokenizer.ts";
import { type WordPiece, wordPieceOf } from "./wordpiece.ts";

/** Names of the padding token, where the files do not say. */
const PAD_TOKENS = ["[PAD]", "<pad>", "<|endoftext|>"];

/** What the two files hold. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly definition: string;
  /** tokenizer_config.json, where there is one */
  readonly config?: string;
  /** For messages. */
  readonly path: string;
}

/**
 * Makes the tokenizer.
 *
 * @throws {InputError} for files that are damaged, of an unsupported kind or harmful
 */
export async function loadTokenizer(files: TokenizerFiles): Promise<TextTokenizer> {
  const library = await import("@huggingface/tokenizers");
  const definition = parseDefinition(files.definition, files.path);
  checkLimits(definition, files.path);
  const config = files.config === undefined
    ? {}
    : parseConfig(files.config, files.path.replace(/\.json$/, "_config.json"));
  const make = () => LibraryTokenizer.make(library, definition, config, files.path);
  const fast = wordPieceOf(definition, config);
  return fast ? new FastTokenizer(fast, definition, config, make) : viaLibrary(
    make(),
    definition,
    config,
  );
}

function viaLibrary(
  library: LibraryTokenizer,
  definition: TokenizerDefinition,
  config: TokenizerConfig,
): TextTokenizer {
  return {
    kind: "library",
    padId: padIdOf(definition, config, (token) => library.idOf(token)),
    largestId: library.largestId,
    encode: (text, limit) => library.encode(text, limit),
  };
}

/** Our own WordPiece; the library for the rare text that holds a literal special token. */
class FastTokenizer implements TextTokenizer {
  readonly kind = "wordpiece";
  readonly padId: number;
  readonly largestId: number;
  readonly #fast: WordPiece;
  readonly #make: () => LibraryTokenizer;
  #library: LibraryTokenizer | undefined;

  constructor(
    fast: WordPiece,
    definition: TokenizerDefinition,
    config: TokenizerConfig,
    make: () => LibraryTokenizer,
  ) {
    this.#fast = fast;
    this.#make = make;
    this.padId = padIdOf(definition, config, (token) => fast.idOf(token));
    this.largestId = fast.largestId;
  }

  encode(text: string, limit: number): Encoded {
    const encoded = this.#fast.encode(text, limit);
    if (encoded) return encoded;
    this.#library ??= this.#make();
    return this.#library.encode(text, limit);
  }
}

function padIdOf(
  definition: TokenizerDefinition,
  config: TokenizerConfig,
  idOf: (token: string) => number | undefined,
): number {
  const padding = definition.padding?.["pad_id"];
  if (typeof padding === "number" && Number.isInteger(padding) && padding >= 0) {
    return padding;
  }
  const named = config["pad_token"];
  const content = typeof named === "object" && named !== null
    ? (named as { content?: unknown }).content
    : named;
  const tokens = typeof content === "string" ? [content, ...PAD_TOKENS] : PAD_TOKENS;
  for (const token of tokens) {
    const id = idOf(token);
    if (id !== undefined) return id;
  }
  return 0;
}
