/** The forms that `op-dbus embed` writes vectors in. */
import type { InputText } from "./embed_input.ts";
import type { Output } from "./output.ts";

/** Names of the forms; `none` computes and caches, and prints the statistics alone. */
export const EMBED_OUTPUTS = ["json", "jsonl", "npy", "raw", "none"] as const;
export type EmbedOutput = typeof EMBED_OUTPUTS[number];

/** Takes the vectors as they come. */
export interface VectorWriter {
  /** @param matrix row-major, texts.length × dimensions */
  write(texts: readonly InputText[], matrix: Float32Array): void;
  /** @param stats what the cache did, for the forms that carry it */
  end(stats: Readonly<Record<string, unknown>>): void;
}

/**
 * A writer to standard output.
 *
 * `jsonl` and `raw` (little-endian float32, row after row) are written as they come;
 * `json` and `npy` hold everything until the end, because their beginning depends on it.
 *
 * @param dimensions floats per vector
 */
export function vectorWriter(
  form: EmbedOutput,
  out: Output,
  dimensions: number,
): VectorWriter {
  switch (form) {
    case "json":
      return jsonWriter(out, dimensions);
    case "jsonl":
      return {
        write(texts, matrix) {
          texts.forEach((text, i) =>
            out.jsonLine(entry(text, row(matrix, i, dimensions)))
          );
        },
        end() {},
      };
    case "npy":
      return npyWriter(out, dimensions);
    case "raw":
      return { write: (_texts, matrix) => out.bytes(bytesOf(matrix)), end() {} };
    case "none":
      return {
        write() {},
        end: (stats) => out.result({ stats }, () => ""),
      };
  }
}

function row(matrix: Float32Array, i: number, dimensions: number): Float32Array {
  return matrix.subarray(i * dimensions, (i + 1) * dimensions);
}

function entry({ text, line, id }: InputText, vector: Float32Array) {
  return { ...(id !== undefined && { id }), line, text, vector: Array.from(vector) };
}

function jsonWriter(out: Output, dimensions: number): VectorWriter {
  const embeddings: unknown[] = [];
  return {
    write(texts, matrix) {
      texts.forEach((text, i) =>
        embeddings.push(entry(text, row(matrix, i, dimensions)))
      );
    },
    end: (stats) => out.jsonLine({ dimensions, embeddings, stats }),
  };
}

function npyWriter(out: Output, dimensions: number): VectorWriter {
  const parts: Float32Array[] = [];
  return {
    write: (_texts, matrix) => void parts.push(matrix.slice()),
    end() {
      const rows = parts.reduce((sum, part) => sum + part.length, 0) / dimensions;
      out.bytes(npyHeader(rows, dimensions));
      for (const part of parts) out.bytes(bytesOf(part));
    },
  };
}

/**
 * The header of a NumPy array file, version 1.0, padded to 64 bytes.
 * Source: NumPy's "The .npy format" (NEP 1).
 */
function npyHeader(rows: number, dimensions: number): Uint8Array {
  const shape = `(${rows}, ${dimensions})`;
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const total = Math.ceil((10 + text.length + 1) / 64) * 64;
  const bytes = new Uint8Array(total).fill(0x20);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]); // \x93NUMPY 1.0
  new DataView(bytes.buffer).setUint16(8, total - 10, true);
  bytes.set(new TextEncoder().encode(text), 10);
  bytes[total - 1] = 0x0a;
  return bytes;
}

/** Both supported architectures are little-endian, so memory is the file format. */
function bytesOf(matrix: Float32Array): Uint8Array {
  return new Uint8Array(matrix.buffer, matrix.byteOffset, matrix.byteLength);
}
