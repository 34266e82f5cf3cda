/**
 * A thread of our own that calls C functions. Deno's nonblocking calls run on whichever
 * thread its pool has, on whichever CPU the kernel wakes that on; this one can be pinned,
 * and has its next calls in shared memory before it has made the last one.
 *
 * It is a worker that sleeps in Atomics.wait when it has nothing to do: two futex wake-ups
 * per call at most, no message is copied.
 */
import { Worker } from "node:worker_threads";
import { cpuMask } from "./affinity.ts";
import { cString } from "./libc.ts";
import { LibraryMissingError, openSystemLibrary } from "./library.ts";
import { address, keepAlive } from "./onnxruntime_memory.ts";

/** Integer or pointer parameters that a function may have: what fits both ABIs' calls. */
const MAX_PARAMETERS = 8;

/** Calls handed over and not fetched at most; a power of two, as the counters wrap. */
const SLOTS = 8;
/** Counters of the shared memory, 32 bit each: calls handed over, calls made. */
const POSTED = 0, MADE = 1, COUNTERS_BYTES = 8;
/** Words of a slot, 64 bit each; function 0 ends the thread. */
const FUNCTION = 0, RESULT = 1, ARGUMENTS = 2, SLOT_WORDS = ARGUMENTS + MAX_PARAMETERS;

/** The worker's whole program, as text: one bundled file is enough. */
const PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const counters = new Int32Array(workerData, 0, 2);
const all = new BigUint64Array(workerData, ${COUNTERS_BYTES});
const type = { parameters: Array(${MAX_PARAMETERS}).fill("u64"), result: "u64" };
let address = 0n, target;
parentPort.postMessage("started");
for (let made = 0;;) {
  Atomics.wait(counters, ${POSTED}, made);
  if (Atomics.load(counters, ${POSTED}) === made) continue;
  const at = (made & ${SLOTS - 1}) * ${SLOT_WORDS};
  const words = all.subarray(at, at + ${SLOT_WORDS});
  if (words[${FUNCTION}] === 0n) break;
  if (address !== words[${FUNCTION}]) {
    address = words[${FUNCTION}];
    target = new Deno.UnsafeFnPointer(Deno.UnsafePointer.create(address), type);
  }
  words[${RESULT}] = target.call(...words.subarray(${ARGUMENTS}));
  made = made + 1 | 0;
  Atomics.store(counters, ${MADE}, made);
  Atomics.notify(counters, ${MADE});
}
`;

/** Where a function of libc is. */
export function addressOfFunction(name: string): bigint {
  const found = (lazyDl ??= openDl()).symbols.dlsym(null, cString(name));
  if (found === null) throw new TypeError(`No function ${name}`);
  return address(found);
}

const DL_SYMBOLS = {
  /** void *dlsym(void *handle, const char *symbol); NULL is RTLD_DEFAULT */
  dlsym: { parameters: ["pointer", "buffer"], result: "pointer" },
} as const;
let lazyDl: Deno.DynamicLibrary<typeof DL_SYMBOLS> | undefined;

/** glibc has it in libc since 2.34, in a library of its own before. */
function openDl() {
  try {
    return openSystemLibrary("libc.so.6", DL_SYMBOLS);
  } catch (error) {
    if (error instanceof LibraryMissingError) {
      return openSystemLibrary("libdl.so.2", DL_SYMBOLS);
    }
    throw error;
  }
}

/** A call that was asked for. */
interface Queued {
  readonly target: bigint;
  readonly args: readonly bigint[];
  readonly resolve: (result: bigint) => void;
  readonly reject: (error: unknown) => void;
}

/** The thread. Calls queue up: one is made at a time, in order. */
export class NativeThread implements Disposable {
  readonly #worker: Worker;
  readonly #counters: Int32Array<SharedArrayBuffer>;
  readonly #words: BigUint64Array<SharedArrayBuffer>;
  /** Not handed over yet. */
  readonly #waiting: Queued[] = [];
  /** Handed over, not fetched yet. */
  readonly #under: Queued[] = [];
  #posted = 0;
  #fetched = 0;
  #fetching = false;
  #failure: { readonly error: unknown } | null = null;
  #started = false;
  #closing = false;

  /**
   * Starts a thread: 15 ms elsewhere, and an isolate's memory.
   *
   * @param cpus where it may run
   */
  constructor(cpus: readonly number[]) {
    const memory = new SharedArrayBuffer(COUNTERS_BYTES + SLOTS * SLOT_WORDS * 8);
    this.#counters = new Int32Array(memory, 0, 2);
    this.#words = new BigUint64Array(memory, COUNTERS_BYTES);
    this.#worker = new Worker(PROGRAM, { eval: true, workerData: memory });
    void this.#start(cpus);
  }

  /** True from when it runs where it should. */
  get started(): boolean {
    return this.#started;
  }

  /** Calls asked for that have not returned. */
  get queued(): number {
    return this.#waiting.length + this.#under.length;
  }

  async #start(cpus: readonly number[]): Promise<void> {
    const worker = this.#worker;
    try {
      await new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
      const mask = cpuMask(cpus), at = address(Deno.UnsafePointer.of(mask));
      const target = addressOfFunction("sched_setaffinity");
      const args = [0n, BigInt(mask.length), at];
      const result = await new Promise<bigint>((resolve, reject) =>
        this.#post({ target, args, resolve, reject })
      );
      keepAlive(mask);
      if (Number(BigInt.asIntN(32, result)) !== 0) {
        throw new Error(`Cannot run a thread on the CPUs ${cpus.join(", ")}`);
      }
      this.#started = true;
      this.#pump();
    } catch (error) {
      this.#failure = { error }; // told to whoever calls
      for (const { reject } of this.#waiting.splice(0)) reject(error);
      this.#end();
    }
    // An idle thread keeps no program from ending.
    this.#restIfIdle();
  }

  /**
   * Calls a C function there. What its arguments point to must live until this settles.
   *
   * @param target its address
   * @param args integers and pointers, at most eight
   * @returns its result register; meaningless for a function that returns nothing
   * @throws {Error} when the thread did not start, or none of its CPUs is there
   */
  async call(target: bigint, args: readonly bigint[]): Promise<bigint> {
    if (args.length > MAX_PARAMETERS) throw new RangeError(`${args.length} arguments`);
    if (this.#closing) throw new TypeError("Thread is closed");
    if (this.#failure) throw this.#failure.error;
    if (this.queued === 0) this.#worker.ref();
    try {
      return await new Promise<bigint>((resolve, reject) => {
        this.#waiting.push({ target, args, resolve, reject });
        this.#pump();
      });
    } finally {
      this.#restIfIdle();
    }
  }

  /** Hands over what fits, once the thread runs where it should. */
  #pump(): void {
    if (!this.#started) return;
    while (this.#under.length < SLOTS && this.#waiting.length > 0) {
      this.#post(this.#waiting.shift()!);
    }
  }

  #post(call: Queued): void {
    this.#under.push(call);
    this.#put(call.target, call.args);
    if (!this.#fetching) void this.#fetch();
  }

  #put(target: bigint, args: readonly bigint[]): void {
    const at = (this.#posted & (SLOTS - 1)) * SLOT_WORDS;
    this.#words[at + FUNCTION] = target;
    this.#words.set(args, at + ARGUMENTS);
    this.#posted = (this.#posted + 1) | 0;
    Atomics.store(this.#counters, POSTED, this.#posted);
    Atomics.notify(this.#counters, POSTED);
  }

  /** Takes results as they come, until nothing is under way. */
  async #fetch(): Promise<void> {
    this.#fetching = true;
    while (this.#under.length > 0) {
      await Atomics.waitAsync(this.#counters, MADE, this.#fetched).value;
      const made = Atomics.load(this.#counters, MADE);
      while (this.#fetched !== made) {
        const at = (this.#fetched & (SLOTS - 1)) * SLOT_WORDS;
        this.#fetched = (this.#fetched + 1) | 0;
        this.#under.shift()!.resolve(this.#words[at + RESULT]!);
      }
      this.#pump();
    }
    this.#fetching = false;
  }

  #restIfIdle(): void {
    if (this.queued > 0) return;
    if (this.#closing) this.#end();
    else this.#worker.unref();
  }

  #end(): void {
    this.#put(0n, []);
    void this.#worker.terminate();
  }

  /** Ends the thread once the calls under way have returned. */
  [Symbol.dispose](): void {
    this.#closing = true;
    if (this.queued === 0) this.#end();
  }
}
