/**
 * ONNX Runtime by its C API: a library, sessions, runs that leave the event loop alive.
 *
 * Source: onnxruntime_c_api.h; https://onnxruntime.ai/docs/api/c/
 */
import { openLibraryAt } from "./library.ts";
import { check, cString, errno, sys } from "./libc.ts";
import type { NativeThread } from "./native_thread.ts";
import { type OutputTensor, readOutput } from "./onnxruntime_output.ts";
import {
  address,
  keepAlive,
  pointerOf,
  readTable,
  StringList,
  text,
  word,
} from "./onnxruntime_memory.ts";
import {
  API_VERSION,
  ARENA_ALLOCATOR,
  LOG_FATAL,
  MEMORY_DEFAULT,
  OPTIMISE_ALL,
  type SlotName,
  SLOTS,
  TENSOR_INT32,
  TENSOR_INT64,
} from "./onnxruntime_slots.ts";

type Pointer = Deno.PointerValue;
type Argument = Pointer | BufferSource | number | bigint;
type Call = (...args: Argument[]) => unknown;
type AsyncCall = (...args: Argument[]) => Promise<unknown>;

/** What ONNX Runtime itself said. `code` is its OrtErrorCode. */
export class OnnxRuntimeError extends Error {
  override readonly name = "OnnxRuntimeError";
  constructor(readonly call: string, readonly code: number, text: string) {
    super(`${call}: ${text}`);
  }
}

/** An execution provider beside the CPU, with its options. */
export interface Provider {
  readonly name: "CUDA" | "TensorRT" | "WebGPU";
  readonly options: Readonly<Record<string, string>>;
}

/** How a session is made. */
export interface SessionSettings {
  /** Threads inside an operator, the caller's included; at least 1. */
  readonly threads: number;
  /** Tried before the CPU, in this order. */
  readonly providers?: readonly Provider[];
  /** `AddSessionConfigEntry` pairs. */
  readonly config?: Readonly<Record<string, string>>;
  /** The CPUs of each thread of our own that makes runs; Deno's threads make the others. */
  readonly runOn?: readonly (readonly number[])[];
  /** Runs that such a thread is given at most before it has made them; default 1. */
  readonly runsAhead?: number;
}

/** Runs that Deno's threads make before a session starts its own: most programs end there. */
const RUNS_WITHOUT_THREAD = 2;

/** One input: integers, row-major. */
export interface InputTensor {
  readonly name: string;
  readonly data: BigInt64Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
  readonly dims: readonly number[];
}

const LIBRARY_SYMBOLS = {
  /** const OrtApiBase *OrtGetApiBase(void) */
  OrtGetApiBase: { parameters: [], result: "pointer" },
} as const;

/**
 * Since 1.30 the library for Linux reports to its maker: unless told not to before it is
 * loaded, it makes onnxruntime.db below ~/.cache, leaves .ses and mat-debug-<pid>.log in
 * $TMPDIR and sends events over HTTPS. Source: onnxruntime/core/platform/posix/telemetry.cc.
 */
function refuseTelemetry(): void {
  check(
    sys.setenv(cString("ORT_DISABLE_TELEMETRY"), cString("1"), 1),
    errno[0],
    "setenv",
  );
}

/** The C API of one loaded library. Lives as long as the process: it has threads. */
export class OnnxRuntime {
  /** The library's own version, e.g. `1.30.0`. */
  readonly version: string;
  readonly #calls = new Map<string, Call>();
  readonly #table: BigUint64Array;
  readonly #env: Pointer;
  readonly #memory: Pointer;

  /**
   * @param path absolute path of libonnxruntime.so
   * @throws {TypeError} when it cannot be loaded (old glibc, no libstdc++)
   * @throws {OnnxRuntimeError} when it is too old
   */
  constructor(path: string) {
    refuseTelemetry();
    const base = openLibraryAt(path, LIBRARY_SYMBOLS).symbols.OrtGetApiBase();
    const entries = readTable(base, 2);
    const getApi = new Deno.UnsafeFnPointer(
      pointerOf(entries[0]!)! as Deno.PointerObject<never>,
      { parameters: ["u32"], result: "pointer" } as const,
    );
    const getVersion = new Deno.UnsafeFnPointer(
      pointerOf(entries[1]!)! as Deno.PointerObject<never>,
      { parameters: [], result: "pointer" } as const,
    );
    this.version = text(getVersion.call());
    const api = getApi.call(API_VERSION);
    if (api === null) {
      const why = `version ${this.version} is older than 1.${API_VERSION}`;
      throw new OnnxRuntimeError("OrtGetApi", 0, why);
    }
    const last = Math.max(...Object.values(SLOTS).map(({ slot }) => slot));
    this.#table = readTable(api, last + 1);
    this.#env = this.create("CreateEnv", LOG_FATAL, cString("op-dbus"));
    this.call("DisableTelemetryEvents", this.#env);
    this.#memory = this.create("CreateCpuMemoryInfo", ARENA_ALLOCATOR, MEMORY_DEFAULT);
  }

  /** Names such as `CPUExecutionProvider`: what this build was compiled with. */
  providers(): string[] {
    const list = new BigUint64Array(1), count = new Int32Array(1);
    this.call("GetAvailableProviders", list, count);
    const names = readTable(pointerOf(list[0]!), count[0]!);
    const out = [...names].map((name) => text(pointerOf(name)));
    this.call("ReleaseAvailableProviders", pointerOf(list[0]!), count[0]!);
    return out;
  }

  /**
   * Loads a model. The file is read on another thread.
   *
   * @param model a path (its external data lies beside it) or the file's bytes
   * @throws {OnnxRuntimeError} for a damaged model or a provider that does not start
   */
  async createSession(
    model: string | Uint8Array<ArrayBuffer>,
    settings: SessionSettings,
  ): Promise<OnnxSession> {
    const options = this.create("CreateSessionOptions");
    try {
      this.#configure(options, settings);
      const out = new BigUint64Array(1);
      if (typeof model === "string") {
        await this.callAsync("CreateSession", this.#env, cString(model), options, out);
      } else {
        const length = BigInt(model.length);
        const call = "CreateSessionFromArray";
        await this.callAsync(call, this.#env, model, length, options, out);
      }
      return new OnnxSession(this, pointerOf(out[0]!), this.#memory, settings);
    } finally {
      this.call("ReleaseSessionOptions", options);
    }
  }

  #configure(options: Pointer, settings: SessionSettings): void {
    this.call("SetSessionLogSeverityLevel", options, LOG_FATAL);
    this.call("SetSessionGraphOptimizationLevel", options, OPTIMISE_ALL);
    this.call("SetIntraOpNumThreads", options, settings.threads);
    for (const [key, value] of Object.entries(settings.config ?? {})) {
      this.call("AddSessionConfigEntry", options, cString(key), cString(value));
    }
    for (const provider of settings.providers ?? []) this.#append(options, provider);
  }

  #append(options: Pointer, provider: Provider): void {
    const keys = new StringList(Object.keys(provider.options));
    const values = new StringList(Object.values(provider.options));
    const count = BigInt(keys.length);
    if (provider.name === "WebGPU") {
      const name = cString(provider.name);
      const call = "AppendExecutionProvider";
      this.call(call, options, name, keys.pointers, values.pointers, count);
      return;
    }
    const kind = provider.name;
    const made = this.create(`Create${kind}ProviderOptions`);
    try {
      const { pointers } = values;
      this.call(`Update${kind}ProviderOptions`, made, keys.pointers, pointers, count);
      this.call(`Append${kind}`, options, made);
    } finally {
      this.call(`Release${kind}ProviderOptions`, made);
    }
  }

  /** Calls a slot whose last parameter receives a new object; returns that object. */
  create(name: SlotName, ...args: Argument[]): Pointer {
    const out = new BigUint64Array(1);
    this.call(name, ...args, out);
    return pointerOf(out[0]!);
  }

  /** Calls a slot on this thread. */
  call(name: SlotName, ...args: Argument[]): void {
    let call = this.#calls.get(name);
    if (!call) this.#calls.set(name, call = this.#bind(name, false) as Call);
    const { result } = SLOTS[name];
    const returned = call(...args);
    if (result === "pointer") this.#check(name, returned as Pointer);
  }

  /** Calls a slot on another thread. The arguments are referenced until it returns. */
  async callAsync(name: SlotName, ...args: Argument[]): Promise<void> {
    const key = `${name} async`;
    let call = this.#calls.get(key) as AsyncCall | undefined;
    if (!call) this.#calls.set(key, call = this.#bind(name, true) as AsyncCall);
    this.#check(name, await call(...args) as Pointer);
    keepAlive(args);
  }

  /** Calls a slot on a thread of ours. The arguments are referenced until it returns. */
  async callOn(thread: NativeThread, name: SlotName, ...args: Argument[]): Promise<void> {
    const status = await thread.call(this.#table[SLOTS[name].slot]!, args.map(word));
    keepAlive(args);
    this.#check(name, pointerOf(status));
  }

  #bind(name: SlotName, nonblocking: boolean): Call | AsyncCall {
    const { slot, parameters, result } = SLOTS[name];
    const pointer = pointerOf(this.#table[slot]!) as Deno.PointerObject<never>;
    const type = { parameters, result, nonblocking } as Deno.ForeignFunction;
    const fn = new Deno.UnsafeFnPointer(pointer, type as never) as unknown as {
      call: Call;
    };
    return (...args) => fn.call(...args) as never;
  }

  #check(name: string, status: Pointer): void {
    if (status === null) return;
    const code = (this.#bind("GetErrorCode", false) as Call)(status) as number;
    const message = (this.#bind("GetErrorMessage", false) as Call)(status) as Pointer;
    const error = new OnnxRuntimeError(name, code, text(message));
    this.call("ReleaseStatus", status);
    throw error;
  }
}

/** A loaded model. Several runs may be under way at once. */
export class OnnxSession implements Disposable {
  #session: Pointer;
  #running = 0;
  #closing = false;
  #runs = 0;
  #threads: NativeThread[] = [];

  constructor(
    readonly runtime: OnnxRuntime,
    session: Pointer,
    readonly memory: Pointer,
    readonly settings: Pick<SessionSettings, "runOn" | "runsAhead">,
  ) {
    this.#session = session;
  }

  /**
   * Runs the model for one output, on another thread.
   *
   * @param signal ends the run early: it rejects with the signal's reason
   * @throws {OnnxRuntimeError} for wrong inputs or ids out of range
   */
  async run(
    inputs: readonly InputTensor[],
    output: string,
    signal?: AbortSignal,
  ): Promise<OutputTensor> {
    signal?.throwIfAborted();
    if (this.#session === null || this.#closing) throw new TypeError("Session is closed");
    const runtime = this.runtime;
    const options = runtime.create("CreateRunOptions");
    const stop = () => runtime.call("RunOptionsSetTerminate", options);
    signal?.addEventListener("abort", stop, { once: true });
    const values: Pointer[] = [];
    this.#running++;
    try {
      for (const input of inputs) values.push(this.#tensor(input));
      const names = new StringList(inputs.map(({ name }) => name));
      const outputs = new StringList([output]);
      const handles = new BigUint64Array(values.map(address));
      const out = new BigUint64Array(1);
      await this.#call(
        this.#session,
        options,
        names.pointers,
        handles,
        BigInt(inputs.length),
        outputs.pointers,
        1n,
        out,
      );
      // ONNX Runtime reads the caller's buffers while it runs: they outlive the await.
      keepAlive([names, outputs, inputs]);
      return readOutput(runtime, pointerOf(out[0]!));
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      for (const value of values) runtime.call("ReleaseValue", value);
      runtime.call("ReleaseRunOptions", options);
      this.#running--;
      if (this.#closing) this.#release();
    }
  }

  #call(...args: Argument[]): Promise<void> {
    const { runOn, runsAhead = 1 } = this.settings;
    if (++this.#runs === RUNS_WITHOUT_THREAD && runOn) void this.#hire(runOn);
    let free: NativeThread | undefined;
    for (const thread of this.#threads) {
      if (thread.started && thread.queued < (free?.queued ?? runsAhead)) free = thread;
    }
    // Deno's threads make what is too much for ours, and all where none can be had.
    return free
      ? this.runtime.callOn(free, "Run", ...args)
      : this.runtime.callAsync("Run", ...args);
  }

  async #hire(runOn: readonly (readonly number[])[]): Promise<void> {
    const { NativeThread } = await import("./native_thread.ts");
    if (this.#session === null) return;
    this.#threads = runOn.map((cpus) => new NativeThread(cpus));
  }

  #tensor(input: InputTensor): Pointer {
    const { data, dims } = input;
    return this.runtime.create(
      "CreateTensorWithDataAsOrtValue",
      this.memory,
      data,
      BigInt(data.byteLength),
      new BigInt64Array(dims.map(BigInt)),
      BigInt(dims.length),
      data instanceof BigInt64Array ? TENSOR_INT64 : TENSOR_INT32,
    );
  }

  /** Releases the model; a run under way ends first. */
  [Symbol.dispose](): void {
    this.#closing = true;
    this.#release();
  }

  #release(): void {
    if (this.#running > 0 || this.#session === null) return;
    this.runtime.call("ReleaseSession", this.#session);
    this.#session = null;
    for (const thread of this.#threads) thread[Symbol.dispose]();
  }
}
