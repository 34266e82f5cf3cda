/** The native engine: ONNX Runtime's C API, on the CPU or an accelerator. */
import { getAffinity } from "../../../ffi/affinity.ts";
import { OnnxRuntime, type Provider } from "../../../ffi/onnxruntime.ts";
import type { OnnxSession } from "../../../ffi/onnxruntime.ts";
import { OpError } from "../../base/errors.ts";
import { nativeLibrary } from "./assets.ts";
import type { Device, EngineOptions, EngineSession, Feeds, ModelFile } from "./engine.ts";

/** Beyond this many threads inside one operator, more of them slow a small encoder down. */
const MAX_THREADS_PER_RUN = 8;
const MAX_CONCURRENCY = 16;

/**
 * How long an idle thread spins for its next piece of work. Long enough for the gap
 * between two operators of a small model; ONNX Runtime's own default is milliseconds,
 * which halves everybody's speed on a machine that has other work.
 */
const SPIN_MICROSECONDS = "50";

/**
 * Runs handed to a thread before it has made them. A single text is over in two
 * milliseconds: with the next one there, no CPU waits until this thread has prepared it.
 */
const RUNS_AHEAD = 2;

/** Where the threads of a session run. */
interface Seats {
  /** CPUs of the thread that calls ONNX Runtime. */
  readonly runOn: readonly (readonly number[])[];
  /** `session.intra_op_thread_affinities`: the other threads, CPUs counted from 1. */
  readonly affinities: string;
  /** See SessionSettings. */
  readonly runsAhead?: number;
}

/**
 * A CPU for each thread, where there are as many of the one as of the other. Left to the
 * kernel, two of the threads often wake up on the same CPU, and stay there for most of a
 * short run: a median twice the best.
 */
function seatsFor(threads: number): Seats | null {
  const [first, ...others] = getAffinity();
  if (threads < 2 || threads !== others.length + 1) return null;
  return { runOn: [[first!]], affinities: others.map((cpu) => cpu + 1).join(";") };
}

/** A thread for each CPU, which makes whole runs on its own. */
function singles(): Seats {
  return {
    runOn: getAffinity().map((cpu) => [cpu]),
    affinities: "",
    runsAhead: RUNS_AHEAD,
  };
}

/** The library with where it came from. */
export interface NativeRuntime {
  readonly runtime: OnnxRuntime;
  /** `built-in` or a path. */
  readonly origin: string;
}

const loaded = new Map<string, Promise<NativeRuntime>>();

/**
 * Loads ONNX Runtime; once per process and path.
 *
 * @param named see {@link nativeLibrary}, like `stampFolder`
 * @throws {OpError} when it is missing, damaged, too old or does not load here
 */
export function loadNative(named: string, stampFolder?: string): Promise<NativeRuntime> {
  let runtime = loaded.get(named);
  if (!runtime) loaded.set(named, runtime = open(named, stampFolder));
  return runtime;
}

async function open(named: string, stampFolder?: string): Promise<NativeRuntime> {
  using library = await nativeLibrary(named, stampFolder);
  try {
    return { runtime: new OnnxRuntime(library.path), origin: library.origin };
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    throw new OpError(
      "runtime_unloadable",
      `Cannot load ONNX Runtime (${library.origin}): ${why}`,
      { cause: error, hint: "it needs glibc 2.28 and libstdc++; or use --device wasm" },
    );
  }
}

/** Without TF32: its 10-bit products would move vectors away from the CPU's. */
const CUDA_OPTIONS = { device_id: "0", use_tf32: "0" } as const;

/** Execution providers of a device, best first; the CPU takes what they leave. */
function providersOf(device: Device): Provider[] {
  switch (device) {
    case "cuda":
      return [{ name: "CUDA", options: CUDA_OPTIONS }];
    case "tensorrt":
      return [
        {
          name: "TensorRT",
          options: { device_id: "0", trt_fp16_enable: "0", trt_engine_cache_enable: "0" },
        },
        { name: "CUDA", options: CUDA_OPTIONS },
      ];
    case "webgpu":
      return [{ name: "WebGPU", options: {} }];
    default:
      return [];
  }
}

/** Weights up to this size are loaded a second time for many batches. */
const MAX_SECOND_COPY_BYTES = 256 * 1024 * 1024;

/**
 * Loads a model. All threads work on one batch. Where there is one per CPU, many batches
 * are run by a second copy of a small model, each on one thread: nobody waits for another
 * at the end of every operator, which makes it a fifth to a quarter faster.
 *
 * @throws {OpError} for a damaged model or a device that does not start
 */
export async function openNative(
  native: NativeRuntime,
  device: Device,
  model: ModelFile,
  options: EngineOptions,
): Promise<EngineSession> {
  const threads = Math.min(options.threads, MAX_THREADS_PER_RUN);
  const seats = seatsFor(threads);
  const session = await load(native, device, model, threads, seats);
  // A run's own thread works too, so N runs on T threads keep N + T - 1 CPUs busy. At
  // least two, so that one is under way while the other's result is pooled.
  const concurrency = Math.max(2, options.threads - threads + 1);
  const one = engineSession(native, device, model, session, concurrency);
  if (device !== "cpu" || !seats || weightBytes(model) > MAX_SECOND_COPY_BYTES) {
    return one;
  }
  let second: Promise<EngineSession> | undefined, closed = false;
  const open = async () => {
    try {
      const single = await load(native, device, model, 1, singles());
      if (closed) single[Symbol.dispose]();
      return engineSession(native, device, model, single, threads);
    } catch (error) {
      // Where memory lacks for a second copy, the first one does the work.
      if (error instanceof OpError) return one;
      throw error;
    }
  };
  return {
    ...one,
    many: () => second ??= open(),
    [Symbol.dispose]() {
      closed = true;
      one[Symbol.dispose]();
      void second?.then((single) => single[Symbol.dispose]());
    },
  };
}

function weightBytes(model: ModelFile): number {
  const folder = model.path.slice(0, model.path.lastIndexOf("/"));
  const files = [model.path, ...model.externalFiles.map((name) => `${folder}/${name}`)];
  return files.reduce((sum, path) => sum + Deno.statSync(path).size, 0);
}

async function load(
  { runtime }: NativeRuntime,
  device: Device,
  model: ModelFile,
  threads: number,
  seats: Seats | null,
): Promise<OnnxSession> {
  try {
    return await runtime.createSession(model.path, {
      threads,
      providers: providersOf(device),
      config: {
        "session.intra_op.spin_duration_us": SPIN_MICROSECONDS,
        ...(seats?.affinities &&
          { "session.intra_op_thread_affinities": seats.affinities }),
      },
      ...(seats && { runOn: seats.runOn, runsAhead: seats.runsAhead ?? 1 }),
    });
  } catch (error) {
    throw new OpError(
      "model_unloadable",
      `Cannot load the model ${model.path} on ${device}: ${reason(error)}`,
      { cause: error, hint: "check the file (op-dbus model list), or another --device" },
    );
  }
}

function engineSession(
  { runtime, origin }: NativeRuntime,
  device: Device,
  model: ModelFile,
  session: OnnxSession,
  concurrency: number,
): EngineSession {
  return {
    engine: "native",
    device,
    description: `ONNX Runtime ${runtime.version}, ${origin}`,
    concurrency: Math.min(MAX_CONCURRENCY, concurrency),
    run: (feeds, signal) => run(session, model, feeds, signal),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}

async function run(
  session: OnnxSession,
  model: ModelFile,
  feeds: Feeds,
  signal: AbortSignal | undefined,
) {
  const dims = [feeds.rows, feeds.columns];
  const inputs = [...feeds.inputs].map(([name, data]) => ({
    name,
    data: model.int32Inputs ? narrow(data) : data,
    dims,
  }));
  try {
    return await session.run(inputs, model.output, signal);
  } catch (error) {
    // A TypeError is the caller's: the session is closed.
    if (signal?.aborted || error instanceof TypeError) throw error;
    throw new OpError(
      "model_failed",
      `Cannot run the model ${model.path}: ${reason(error)}`,
      { cause: error, hint: "its files do not fit together: add the model again" },
    );
  }
}

/** Token ids as int32, for models that want them so. */
export function narrow(values: BigInt64Array): Int32Array<ArrayBuffer> {
  return Int32Array.from(values, Number);
}

/** What went wrong without ONNX Runtime's own source path, one line. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^\w+: /, "").replace(/^\S+\.cc:\d+ .*?\[ONNXRuntimeError\] : /, "")
    .replace(/\s+/g, " ").trim();
}
