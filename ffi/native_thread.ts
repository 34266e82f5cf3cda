/**
 * A thread of our own that calls C functions. Deno's nonblocking calls run on whichever
 * thread its pool has, on whichever CPU the kernel wakes that on; this one can be pinned.
 *
 * It is a worker that sleeps in Atomics.wait between calls: two futex wake-ups per call,
 * no message is copied.
 */
import { Worker } from "node:worker_threads";
import { cpuMask } from "./affinity.ts";
import { cString } from "./libc.ts";
import { LibraryMissingError, openSystemLibrary } from "./library.ts";
import { address, keepAlive } from "./onnxruntime_memory.ts";

/** Integer or pointer parameters that a function may have: what fits both ABIs' calls. */
const MAX_PARAMETERS = 8;

/** Words of the shared memory: state and completion (32 bit each), then 64 bit ones. */
const FIRST_WORD_BYTES = 8, FUNCTION = 0, RESULT = 1, ARGUMENTS = 2;
const WORDS = ARGUMENTS + MAX_PARAMETERS;
/** What the first state holds, besides 0 for idle. */
const CALL = 1, END = 2;
const STATE = 0, DONE = 1;

/** The worker's whole program, as text: one bundled file is enough. */
const PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const state = new Int32Array(workerData, 0, 2);
const words = new BigUint64Array(workerData, ${FIRST_WORD_BYTES});
const type = { parameters: Array(${MAX_PARAMETERS}).fill("u64"), result: "u64" };
let address = 0n, target;
parentPort.postMessage("started");
for (;;) {
  Atomics.wait(state, ${STATE}, 0);
  if (Atomics.exchange(state, ${STATE}, 0) === ${END}) break;
  if (address !== words[${FUNCTION}]) {
    address = words[${FUNCTION}];
    target = new Deno.UnsafeFnPointer(Deno.UnsafePointer.create(address), type);
  }
  words[${RESULT}] = target.call(...words.subarray(${ARGUMENTS}));
  Atomics.store(state, ${DONE}, 1);
  Atomics.notify(state, ${DONE});
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

/** The thread. Calls queue up: one is made at a time. */
export class NativeThread implements Disposable {
  readonly #worker: Worker;
  readonly #state: Int32Array<SharedArrayBuffer>;
  readonly #words: BigUint64Array<SharedArrayBuffer>;
  #last: Promise<unknown>;
  #queued = 0;
  #started = false;
  #closing = false;

  /**
   * Starts a thread: 15 ms elsewhere, and an isolate's memory.
   *
   * @param cpus where it may run
   */
  constructor(cpus: readonly number[]) {
    const memory = new SharedArrayBuffer(FIRST_WORD_BYTES + WORDS * 8);
    this.#state = new Int32Array(memory, 0, 2);
    this.#words = new BigUint64Array(memory, FIRST_WORD_BYTES);
    this.#worker = new Worker(PROGRAM, { eval: true, workerData: memory });
    this.#last = this.#start(cpus);
    // A failure is told to whoever calls.
    this.#last.catch(() => {});
  }

  /** True from when it runs where it should. */
  get started(): boolean {
    return this.#started;
  }

  async #start(cpus: readonly number[]): Promise<void> {
    const worker = this.#worker;
    try {
      await new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
      const mask = cpuMask(cpus), at = address(Deno.UnsafePointer.of(mask));
      const pin = addressOfFunction("sched_setaffinity");
      const result = await this.#call(pin, [0n, BigInt(mask.length), at]);
      keepAlive(mask);
      if (Number(BigInt.asIntN(32, result)) !== 0) {
        throw new Error(`Cannot run a thread on the CPUs ${cpus.join(", ")}`);
      }
      this.#started = true;
      // An idle thread keeps no program from ending.
      if (this.#queued === 0) worker.unref();
    } catch (error) {
      this.#end();
      throw error;
    }
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
    if (this.#queued++ === 0) this.#worker.ref();
    try {
      const result = this.#last.then(() => this.#call(target, args));
      this.#last = result;
      return await result;
    } finally {
      if (--this.#queued === 0) {
        if (this.#closing) this.#end();
        else this.#worker.unref();
      }
    }
  }

  async #call(target: bigint, args: readonly bigint[]): Promise<bigint> {
    this.#words[FUNCTION] = target;
    this.#words.set(args, ARGUMENTS);
    Atomics.store(this.#state, DONE, 0);
    Atomics.store(this.#state, STATE, CALL);
    Atomics.notify(this.#state, STATE);
    await Atomics.waitAsync(this.#state, DONE, 0).value;
    return this.#words[RESULT]!;
  }

  #end(): void {
    Atomics.store(this.#state, STATE, END);
    Atomics.notify(this.#state, STATE);
    void this.#worker.terminate();
  }

  /** Ends the thread once the calls under way have returned. */
  [Symbol.dispose](): void {
    this.#closing = true;
    if (this.#queued === 0) this.#end();
  }
}
