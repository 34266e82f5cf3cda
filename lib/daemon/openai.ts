/**
 * The OpenAI embeddings API: what a request must look like, and the answer.
 *
 * Source: https://platform.openai.com/docs/api-reference/embeddings
 */
import { OpError } from "../base/errors.ts";

/** A request for embeddings, checked. */
export interface EmbeddingsRequest {
  readonly texts: readonly string[];
  readonly model: string | null;
  readonly format: "float" | "base64";
  /** Null for the model's own. */
  readonly dimensions: number | null;
}

/** An error in the request, with the parameter that is wrong. */
export class RequestError extends OpError {
  override readonly name = "RequestError";
  constructor(code: string, message: string, readonly param: string | null = null) {
    super(code, message);
  }
}

/** Keys of a request that this API has; what is left over is refused by name. */
const KNOWN = new Set(["input", "model", "encoding_format", "dimensions", "user"]);

/**
 * Parses a JSON body that is an object.
 * @throws {RequestError} `bad_json`
 */
export function parseObject(body: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new RequestError("bad_json", "The body is not JSON in UTF-8");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestError("bad_json", "The body is not a JSON object");
  }
  return value as Record<string, unknown>;
}

/**
 * Checks a request for embeddings.
 * @param batchTexts most texts
 * @throws {RequestError}
 */
export function parseEmbeddings(
  body: Record<string, unknown>,
  batchTexts: number,
): EmbeddingsRequest {
  const unknown = Object.keys(body).find((key) => !KNOWN.has(key));
  if (unknown !== undefined) {
    throw new RequestError("unknown_parameter", `Unknown parameter: ${unknown}`, unknown);
  }
  const format = body.encoding_format ?? "float";
  if (format !== "float" && format !== "base64") {
    throw new RequestError(
      "bad_parameter",
      "encoding_format is neither float nor base64",
      "encoding_format",
    );
  }
  const dimensions = body.dimensions ?? null;
  const valid = dimensions === null ||
    (Number.isSafeInteger(dimensions) && (dimensions as number) > 0);
  if (!valid) {
    throw new RequestError(
      "bad_parameter",
      "dimensions is no whole number",
      "dimensions",
    );
  }
  return {
    texts: parseInput(body.input, batchTexts),
    model: parseModel(body.model),
    format,
    dimensions: dimensions as number | null,
  };
}

/** @throws {RequestError} */
export function parseModel(model: unknown): string | null {
  if (model === undefined || model === null) return null;
  if (typeof model !== "string" || model === "") {
    throw new RequestError("bad_parameter", "model is not a name", "model");
  }
  return model;
}

function parseInput(input: unknown, batchTexts: number): readonly string[] {
  const bad = (code: string, message: string) => new RequestError(code, message, "input");
  const list = Array.isArray(input) ? input : [input];
  if (list.some((item) => typeof item === "number" || Array.isArray(item))) {
    throw bad(
      "token_input",
      "input holds token ids: send texts, since token ids of one model mean nothing to another",
    );
  }
  if (list.length === 0) throw bad("empty_input", "input is empty");
  if (list.length > batchTexts) {
    throw bad("too_many_texts", `input holds ${list.length} texts, over ${batchTexts}`);
  }
  const wrong = list.findIndex((item) => typeof item !== "string" || item === "");
  if (wrong !== -1) throw bad("bad_input", `input ${wrong} is not a text, or is empty`);
  return list;
}

/**
 * The first `dimensions` numbers of a vector at unit length: what models that were
 * trained for it (Matryoshka) allow.
 */
export function shorten(vector: Float32Array, dimensions: number): Float32Array {
  const cut = vector.slice(0, dimensions);
  const norm = Math.hypot(...cut);
  return norm === 0 ? cut : cut.map((value) => value / norm);
}

/** A float32 as text, with a comma, is this long at most, nearly always; and as base64. */
const FLOAT_BYTES = 22, BASE64_BYTES = 6;
/** Answers of more than this are written piece by piece, as they are taken. */
const WHOLE_BYTES = 1024 * 1024;
/** About the length of a piece, and what is held of them at once. */
const PIECE_CHARS = 64 * 1024, PIECES_BYTES = 4 * PIECE_CHARS;

/** What an answer holds until it is taken, and whether it is written piece by piece. */
export function answerSize(
  texts: number,
  dimensions: number,
  format: EmbeddingsRequest["format"],
): { readonly sizeBytes: number; readonly inPieces: boolean } {
  const numbers = texts * dimensions;
  const matrixBytes = numbers * Float32Array.BYTES_PER_ELEMENT;
  const textBytes = numbers * (format === "float" ? FLOAT_BYTES : BASE64_BYTES);
  const inPieces = textBytes > WHOLE_BYTES;
  return { sizeBytes: matrixBytes + (inPieces ? PIECES_BYTES : textBytes), inPieces };
}

/**
 * The body of an answer, in pieces. Written by hand: `JSON.stringify` of the whole costs
 * twice.
 *
 * @param rows one vector per text
 * @param promptTokens tokens that the model read; hits cost none
 */
export function* embeddingsBody(
  rows: Iterable<Float32Array>,
  model: string,
  format: "float" | "base64",
  promptTokens: number,
): Generator<string> {
  let piece = `{"object":"list","data":[`, index = 0;
  for (const row of rows) {
    if (index > 0) piece += ",";
    piece += `{"object":"embedding","index":${index++},` +
      `"embedding":${encodeRow(row, format)}}`;
    if (piece.length < PIECE_CHARS) continue;
    yield piece;
    piece = "";
  }
  yield piece + `],"model":${JSON.stringify(model)},` +
    `"usage":{"prompt_tokens":${promptTokens},"total_tokens":${promptTokens}}}`;
}

function encodeRow(row: Float32Array, format: "float" | "base64"): string {
  if (format === "float") return `[${row.join(",")}]`;
  const bytes = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
  return `"${bytes.toBase64()}"`;
}

/** The body of an error, as OpenAI's clients read it. */
export function errorBody(
  message: string,
  type: string,
  code: string,
  param: string | null,
): string {
  return JSON.stringify({ error: { message, type, param, code } });
}
