/** What op-dbus knows of a model it keeps: `model.json` in the model's folder. */
import * as v from "valibot";
import { OpError } from "../../base/errors.ts";
import type { ModelIdentity } from "../embedder.ts";

/** Name of the record's file. */
export const RECORD_FILE = "model.json";
/** Larger records are none. */
export const MAX_RECORD_BYTES = 256 * 1024;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

const Record = v.object({
  format: v.literal(1),
  name: v.string(),
  /** Over weights, tokenizer and output: see {@link digestOf}. */
  digest: sha256,
  files: v.array(v.object({ path: v.string(), size_bytes: count, sha256 })),
  dimensions: v.pipe(count, v.minValue(1)),
  pooling: v.picklist(["mean", "cls", "max", "none"]),
  normalisation: v.picklist(["l2", "none"]),
  prefixes: v.object({ query: v.string(), passage: v.string() }),
  max_tokens: count,
  precision: v.picklist(["fp32", "fp16", "int8"]),
  /** The model's inputs, in its order. */
  inputs: v.array(v.string()),
  int32_inputs: v.boolean(),
  output: v.string(),
  /** A text's vector would depend on its batch: dynamic quantisation, no mask. */
  batch_sensitive: v.boolean(),
  external_files: v.array(v.string()),
  tokenizer: v.picklist(["wordpiece", "library"]),
  source: v.string(),
  added_at: v.string(),
});

/** A model's record. Names are snake_case: `model list --json` prints it as it is. */
export type ModelRecord = v.InferOutput<typeof Record>;

/** A file of a model, as recorded. */
export type ModelFileRecord = ModelRecord["files"][number];

/** Which of a model's prefixes to use: E5 and BGE tell questions from answers. */
export type TextRole = "query" | "passage";

/** The file of the weights inside a kept model's folder. */
export const MODEL_FILE = "model.onnx";
export const TOKENIZER_FILE = "tokenizer.json";
export const TOKENIZER_CONFIG_FILE = "tokenizer_config.json";

/**
 * Reads a record.
 *
 * @param path for messages
 * @throws {OpError} when it is damaged or of a later format
 */
export function parseRecord(text: string, path: string): ModelRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(path, (error as Error).message);
  }
  const parsed = v.safeParse(Record, value);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  throw damaged(path, `${v.getDotPath(issue) ?? "record"}: ${issue.message}`);
}

function damaged(path: string, why: string): OpError {
  return new OpError("damaged_record", `Cannot read the model's record ${path}: ${why}`, {
    hint: "remove the model and add it again",
  });
}

/**
 * The digest that goes into cache keys: everything that decides the vectors and is not a
 * key of its own in {@link ModelIdentity}. Two names for the same files share vectors.
 */
export async function digestOf(
  files: readonly ModelFileRecord[],
  output: string,
): Promise<string> {
  const deciding = files.filter(({ path }) =>
    path === TOKENIZER_FILE || path === TOKENIZER_CONFIG_FILE || !path.endsWith(".json")
  );
  const lines = deciding.map(({ path, sha256 }) => `${sha256} ${JSON.stringify(path)}\n`)
    .sort();
  const text = `op-dbus model 1\noutput ${JSON.stringify(output)}\n${lines.join("")}`;
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(bytes).toHex();
}

/** The identity of a model in one of its roles. */
export function identityOf(record: ModelRecord, role: TextRole): ModelIdentity {
  return {
    name: record.name,
    digest: record.digest,
    dimensions: record.dimensions,
    pooling: record.pooling,
    normalisation: record.normalisation,
    prefix: record.prefixes[role],
    maxTokens: record.max_tokens,
  };
}
