/** What both engines offer: a loaded model that turns token ids into numbers. */

/** Where a model runs. */
export const DEVICES = ["cpu", "cuda", "tensorrt", "webgpu", "wasm"] as const;
export type Device = typeof DEVICES[number];
/** What a user may ask for. */
export type DeviceChoice = Device | "auto";

/** A rectangle of token ids: `rows` texts of `columns` tokens, the short ones padded. */
export interface Feeds {
  readonly rows: number;
  readonly columns: number;
  /** input_ids, attention_mask and perhaps token_type_ids, row-major. */
  readonly inputs: ReadonlyMap<string, BigInt64Array<ArrayBuffer>>;
}

/** One output of the model. `data` is gone after dispose. */
export interface EngineOutput extends Disposable {
  readonly data: Float32Array | Float16Array;
  readonly dims: readonly number[];
}

/** A model loaded into an engine. */
export interface EngineSession extends Disposable {
  readonly engine: "native" | "wasm";
  readonly device: Device;
  /** For people: `ONNX Runtime 1.30.0, built-in`. */
  readonly description: string;
  /** Runs that are worth having under way at once. */
  readonly concurrency: number;
  /**
   * @param signal ends the run early; it rejects with the signal's reason
   * @throws {OpError} when the model does not run
   */
  run(feeds: Feeds, signal?: AbortSignal): Promise<EngineOutput>;
  /**
   * The same model as it is fastest for many batches, where that is another way than for
   * one. It is closed together with this one.
   */
  many?(): Promise<EngineSession>;
}

/** What an engine needs to load a model. */
export interface ModelFile {
  /** Absolute path of the .onnx file; external weights lie beside it. */
  readonly path: string;
  /** Names of the files of external weights. */
  readonly externalFiles: readonly string[];
  /** The output to read. */
  readonly output: string;
  /** True where the inputs are int32. */
  readonly int32Inputs: boolean;
}

/** How an engine should run it. */
export interface EngineOptions {
  /** CPU threads to use in all, at least 1. */
  readonly threads: number;
}
