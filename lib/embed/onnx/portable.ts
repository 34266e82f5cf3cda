/**
 * The portable engine: ONNX Runtime in WebAssembly, for machines where the native library
 * does not load. One thread; it blocks the event loop for the length of one small batch.
 */
import { setImmediate as eventLoopTurn } from "node:timers/promises";
import { OpError } from "../../base/errors.ts";
import { ASSETS, readAsset } from "./assets.ts";
import type { EngineSession, Feeds, ModelFile } from "./engine.ts";
import { narrow } from "./native.ts";

type Ort = typeof import("onnxruntime-web/wasm");

let loaded: Promise<Ort> | undefined;

/** Loads the engine; once per process. @throws {OpError} when its .wasm is missing */
export function loadPortable(): Promise<Ort> {
  return loaded ??= load();
}

async function load(): Promise<Ort> {
  const bytes = await readAsset(ASSETS.wasm);
  const ort = await import("onnxruntime-web/wasm");
  // The bytes are handed over, so nothing is fetched and no path has to be known.
  ort.env.wasm.wasmBinary = bytes.buffer;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "fatal";
  return ort;
}

/** Loads a model. @throws {OpError} for a damaged model */
export async function openPortable(model: ModelFile): Promise<EngineSession> {
  const ort = await loadPortable();
  const folder = model.path.slice(0, model.path.lastIndexOf("/"));
  let session: Awaited<ReturnType<Ort["InferenceSession"]["create"]>>;
  try {
    const bytes = await Deno.readFile(model.path);
    const externalData = await Promise.all(model.externalFiles.map(async (path) => ({
      path,
      data: await Deno.readFile(`${folder}/${path}`),
    })));
    session = await ort.InferenceSession.create(bytes, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      logSeverityLevel: 4,
      externalData,
    });
  } catch (error) {
    throw new OpError(
      "model_unloadable",
      `Cannot load the model ${model.path} on wasm: ${reason(error)}`,
      { cause: error, hint: "check the file (op-dbus model list), or another --device" },
    );
  }
  let running = 0, closing = false;
  return {
    engine: "wasm",
    device: "wasm",
    description: `ONNX Runtime ${ort.env.versions.web ?? ""} (WebAssembly), built-in`,
    concurrency: 1,
    async run(feeds, signal) {
      if (closing) throw new TypeError("Session is closed");
      running++;
      try {
        return await run(ort, session, model, feeds, signal);
      } finally {
        if (--running === 0 && closing) await session.release();
      }
    },
    // As the native one: runs under way end first. The engine refuses a second release.
    [Symbol.dispose]() {
      if (!closing && running === 0) void session.release();
      closing = true;
    },
  };
}

async function run(
  ort: Ort,
  session: Awaited<ReturnType<Ort["InferenceSession"]["create"]>>,
  model: ModelFile,
  feeds: Feeds,
  signal: AbortSignal | undefined,
) {
  // A turn of the event loop between runs: signals and timers get their chance.
  await eventLoopTurn();
  signal?.throwIfAborted();
  const dims = [feeds.rows, feeds.columns];
  const inputs: Record<string, InstanceType<Ort["Tensor"]>> = {};
  for (const [name, data] of feeds.inputs) {
    inputs[name] = model.int32Inputs
      ? new ort.Tensor("int32", narrow(data), dims)
      : new ort.Tensor("int64", data, dims);
  }
  let output: InstanceType<Ort["Tensor"]>;
  try {
    output = (await session.run(inputs, [model.output]))[model.output]!;
  } catch (error) {
    throw new OpError(
      "model_failed",
      `Cannot run the model ${model.path}: ${reason(error)}`,
      { cause: error, hint: "its files do not fit together: add the model again" },
    );
  }
  const raw: unknown = output.data;
  // Where the engine does not know Float16Array, halves come as their bits.
  const data = output.type === "float16" && raw instanceof Uint16Array
    ? new Float16Array(raw.buffer as ArrayBuffer, raw.byteOffset, raw.length)
    : raw;
  if (!(data instanceof Float32Array || data instanceof Float16Array)) {
    const message = `Cannot run the model ${model.path}: its output is ${output.type}`;
    throw new OpError("model_output", message);
  }
  return { data, dims: output.dims, [Symbol.dispose]: () => output.dispose() };
}

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .replace(/\s+/g, " ").trim();
}
