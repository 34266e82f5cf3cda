/**
 * BTRFS_IOC_SEND. It blocks for as long as the snapshot is large, and its errno can only
 * be read on the thread that called: so it runs synchronously in a worker of its own.
 *
 * Source: Linux `include/uapi/linux/btrfs.h`, `fs/btrfs/send.c`.
 */
import { SysError } from "./errno.ts";
import { close, pipe } from "./files.ts";
import { IOW } from "./ioctl.ts";
import { libraryCandidates } from "./library.ts";
import { openWorkerLibc } from "./worker_libc.ts";
import { sys } from "./libc.ts";

const SEND_BYTES = 72;
export const SEND = IOW(0x94, 38, SEND_BYTES);

/** `BTRFS_SEND_FLAG_*`. */
export const SEND_NO_FILE_DATA = 1;
const SEND_VERSION = 8;
export const SEND_COMPRESSED = 16;

const F_SETPIPE_SZ = 1031;
const PIPE_BYTES = 1024 * 1024;

/** What to send. */
export interface SendRequest {
  /** The read-only subvolume's root folder; open until the send is over. */
  readonly fd: number;
  /** Subvolume id of the parent; 0n for a full stream. */
  readonly parentId: bigint;
  /** Subvolume ids that data may be cloned from; the parent among them. */
  readonly cloneIds: readonly bigint[];
  /** SEND_* bits. */
  readonly flags: number;
  /** Protocol version, 1 or 2. */
  readonly version: number;
}

/** What the worker is told. */
interface SendMessage {
  readonly libraries: readonly string[];
  readonly fd: number;
  readonly request: bigint;
  readonly args: Uint8Array;
  readonly clones: BigUint64Array;
  /** Closed when the ioctl has returned, so that a pipe's reader sees the end. */
  readonly closeFd: number;
}

/**
 * The worker's whole program. It is turned into text, so that one bundled file is
 * enough: it must not refer to anything outside of itself, and hold no named function
 * (esbuild's --keep-names would wrap it in a helper that is not there).
 */
function sendWorker(open: typeof openWorkerLibc): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<SendMessage>) => void;
    postMessage: (errno: number) => void;
  };
  scope.onmessage = ({ data }) => {
    const symbols = {
      ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
      close: { parameters: ["i32"], result: "i32" },
      __errno_location: { parameters: [], result: "pointer" },
    } as const;
    const libc = open(data.libraries, symbols);
    if (libc === null) return scope.postMessage(38);
    const where = libc.__errno_location();
    const errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(where!, 4));
    const args = new DataView(data.args.buffer);
    if (data.clones.length > 0) {
      const pointer = Deno.UnsafePointer.of(data.clones as BufferSource);
      args.setBigUint64(16, Deno.UnsafePointer.value(pointer), true);
    }
    const result = libc.ioctl(data.fd, data.request, args);
    const number = result < 0 ? errno[0]! : 0;
    if (data.closeFd >= 0) libc.close(data.closeFd);
    scope.postMessage(number);
  };
}

/**
 * Runs a send to a descriptor.
 *
 * @param outFd a file, pipe or socket open for writing
 * @param closeOut close `outFd` when the send is over
 * @throws {SysError} EPERM without root; EINVAL or EPROTO where the kernel lacks the
 *   version or a flag; ENOENT when the parent is no relative; EPIPE when nobody reads
 */
export function sendTo(
  request: SendRequest,
  outFd: number,
  closeOut = false,
): Promise<void> {
  const args = new Uint8Array(SEND_BYTES);
  const view = new DataView(args.buffer);
  const newer = request.version > 1;
  view.setBigInt64(0, BigInt(outFd), true);
  view.setBigUint64(8, BigInt(request.cloneIds.length), true);
  view.setBigUint64(24, request.parentId, true);
  view.setBigUint64(32, BigInt(request.flags | (newer ? SEND_VERSION : 0)), true);
  view.setUint32(40, newer ? request.version : 0, true);
  const message: SendMessage = {
    libraries: libraryCandidates("libc.so.6"),
    fd: request.fd,
    request: BigInt(SEND),
    args,
    clones: BigUint64Array.from(request.cloneIds),
    closeFd: closeOut ? outFd : -1,
  };
  const text = `(${sendWorker.toString()})(${openWorkerLibc.toString()})`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  return new Promise<void>((resolve, reject) => {
    const worker = new Worker(url, { type: "module" });
    const done = () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    };
    worker.onmessage = ({ data }: MessageEvent<number>) => {
      done();
      if (data === 0) resolve();
      else reject(new SysError("btrfs send", "", data));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      done();
      if (closeOut) close(outFd);
      reject(new Error(`The send worker failed: ${event.message}`));
    };
    worker.postMessage(message);
  });
}

/** A send that is running into a pipe. */
export interface PipedSend {
  /** The read end. Closing it cancels the send. The caller closes it. */
  readonly readFd: number;
  /** Settles when the ioctl returns. */
  readonly done: Promise<void>;
}

/** {@link sendTo} into a pipe of 1 MiB. */
export function sendToPipe(request: SendRequest): PipedSend {
  const { readFd, writeFd } = pipe();
  // Only a matter of speed; a smaller pipe works too.
  sys.fcntl(writeFd, F_SETPIPE_SZ, BigInt(PIPE_BYTES));
  return { readFd, done: sendTo(request, writeFd, true) };
}
