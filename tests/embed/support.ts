/** Models and roots for the tests of embedding. */
import { Layout } from "../../lib/base/layout.ts";
import { addModel, type AddOptions } from "../../lib/embed/model/add.ts";
import { openModel } from "../../lib/embed/model/open.ts";
import type { DeviceChoice } from "../../lib/embed/onnx/engine.ts";
import type { OnnxEmbedder } from "../../lib/embed/onnx/onnx_embedder.ts";
import { type FolderOptions, writeModelFolder } from "../../scripts/models/folder.ts";
import { randomFrom } from "../../scripts/models/random.ts";
import { word } from "../../scripts/models/tokenizer_json.ts";
import { tempFolder } from "../support/scratch.ts";

/** A root with room for models, and a place to write model folders into. */
export interface ModelScratch extends AsyncDisposable {
  readonly layout: Layout;
  /** Writes a model folder; returns its path. */
  write(options?: FolderOptions): Promise<string>;
  /** Writes a model, adds it and opens it. */
  open(options?: FolderOptions, more?: OpenMore): Promise<OnnxEmbedder>;
}

/** What else {@link ModelScratch.open} takes. */
export interface OpenMore extends Partial<AddOptions> {
  readonly device?: DeviceChoice;
  readonly role?: "query" | "passage";
}

export const CPU = { device: "cpu", library: "" } as const;

export async function modelScratch(): Promise<ModelScratch> {
  const folder = await tempFolder("op-dbus-model-");
  const layout = new Layout(`${folder.path}/root`);
  await Deno.mkdir(layout.root);
  let count = 0;
  const write = async (options: FolderOptions = {}) => {
    const path = `${folder.path}/model-${++count}`;
    await writeModelFolder(path, options);
    return path;
  };
  return {
    layout,
    write,
    async open(options = {}, more = {}) {
      const path = await write(options);
      const name = `model-${count}`;
      await addModel(layout, name, path, { devices: CPU, ...more });
      return await openModel(layout, name, {
        device: more.device ?? "cpu",
        library: "",
        role: more.role ?? "passage",
      });
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Sentences of made-up words, the same for the same seed. */
export function sentences(count: number, seed = 7, mostWords = 14): string[] {
  const random = randomFrom(seed);
  return Array.from(
    { length: count },
    () =>
      Array.from({ length: 1 + Math.floor(random() * mostWords) }, () => word(random))
        .join(" "),
  );
}

/** A row of a matrix. */
export function rowOf(matrix: Float32Array, row: number, dimensions: number) {
  return matrix.subarray(row * dimensions, (row + 1) * dimensions);
}

/** Writes another text of the same length over every place of a text. */
export function replaceBytes(bytes: Uint8Array, from: string, to: string): void {
  const a = new TextEncoder().encode(from), b = new TextEncoder().encode(to);
  for (let at = 0; at + a.length <= bytes.length; at++) {
    if (a.every((byte, i) => bytes[at + i] === byte)) bytes.set(b, at);
  }
}
