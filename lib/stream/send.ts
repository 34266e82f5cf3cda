/** Sending: a read-only snapshot as a stream, full or as a difference. */
import { isReadOnly, isSubvolume, openFolder, subvolumeInfo } from "../../ffi/btrfs.ts";
import {
  SEND_COMPRESSED,
  SEND_NO_FILE_DATA,
  type SendRequest,
  sendTo,
  sendToPipe,
} from "../../ffi/btrfs_send.ts";
import { readLater } from "../../ffi/later.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { close } from "../../ffi/files.ts";
import { fstatfs } from "../../ffi/stat.ts";
import { asOpError, OpError } from "../base/errors.ts";

const CHUNK_BYTES = 1024 * 1024;

/** How to send. */
export interface SendOptions {
  /** Path of the snapshot that this is to be a difference to; read-only too. */
  readonly parent?: string;
  /** Paths of more snapshots that the receiver has, to clone from. */
  readonly cloneSources?: readonly string[];
  /**
   * Compressed extents as they are (protocol 2). `auto` (default): where the kernel can;
   * `never`: protocol 1, which every receiver reads; `always`: an error where it cannot.
   */
  readonly compressed?: "auto" | "never" | "always";
  /** File data are left out: what changed, not how. */
  readonly withoutData?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Sends a snapshot to a descriptor: nothing passes through JavaScript.
 *
 * @param path the snapshot's folder
 * @param outFd a file, pipe or socket, open for writing; stays the caller's
 * @throws {OpError} `not_subvolume`, `not_read_only`, `permission_denied`, `no_parent`
 */
export async function sendToFd(
  path: string,
  outFd: number,
  options: SendOptions = {},
): Promise<void> {
  using opened = openRequest(path, options);
  options.signal?.throwIfAborted();
  try {
    await sendTo(opened.request, outFd);
  } catch (error) {
    throw sendError(error, path, options);
  }
}

/**
 * Sends a snapshot as chunks. Ending the loop early cancels the send.
 *
 * @param path the snapshot's folder
 * @yields pieces of up to 1 MiB, each valid until the next is asked for
 * @throws {OpError} as {@link sendToFd}
 */
export async function* sendChunks(
  path: string,
  options: SendOptions = {},
): AsyncGenerator<Uint8Array, void> {
  using opened = openRequest(path, options);
  const { readFd, done } = sendToPipe(opened.request);
  const chunk = new Uint8Array(CHUNK_BYTES);
  let failure: unknown;
  const settled = done.catch((error) => failure = error);
  let whole = false, open = true;
  const stop = () => {
    if (open) close(readFd); // the kernel gives up with EPIPE
    open = false;
  };
  try {
    for (;;) {
      options.signal?.throwIfAborted();
      const n = await readLater(readFd, chunk);
      if (n === 0) break;
      yield chunk.subarray(0, n);
    }
    whole = true;
  } finally {
    stop();
    await settled;
  }
  if (whole && failure !== undefined) throw sendError(failure, path, options);
}

interface OpenedRequest extends Disposable {
  readonly request: SendRequest;
}

function openRequest(path: string, options: SendOptions): OpenedRequest {
  const fds: number[] = [];
  const dispose = () => fds.forEach(close);
  const open = (at: string) => {
    const fd = openSnapshot(at);
    fds.push(fd);
    return fd;
  };
  try {
    const fd = open(path);
    const parentId = options.parent ? subvolumeInfo(open(options.parent)).id : 0n;
    const cloneIds = (options.cloneSources ?? []).map((at) => subvolumeInfo(open(at)).id);
    if (parentId !== 0n) cloneIds.push(parentId);
    const choice = options.compressed ?? "auto";
    const compressed = choice === "always" || (choice === "auto" && kernelHasVersion2());
    const flags = (compressed ? SEND_COMPRESSED : 0) |
      (options.withoutData ? SEND_NO_FILE_DATA : 0);
    const request = { fd, parentId, cloneIds, flags, version: compressed ? 2 : 1 };
    return { request, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

function openSnapshot(path: string): number {
  let fd: number;
  try {
    fd = openFolder(path);
  } catch (error) {
    throw asOpError(error, "Cannot send");
  }
  try {
    if (!isSubvolume(fd)) {
      const type = fstatfs(fd).magic.toString(16);
      throw new OpError(
        "not_subvolume",
        `Cannot send ${path}: it is no btrfs subvolume (file system 0x${type})`,
        { hint: "plugin pack makes a package from any folder" },
      );
    }
    if (!isReadOnly(fd)) {
      throw new OpError("not_read_only", `Cannot send ${path}: it is not read-only`, {
        hint: "make a read-only snapshot of it first",
      });
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

let version2: boolean | undefined;

/** True where the kernel's send speaks protocol 2 (6.0; it says so in sysfs). */
export function kernelHasVersion2(): boolean {
  if (version2 !== undefined) return version2;
  try {
    const text = readTextFile("/sys/fs/btrfs/features/send_stream_version");
    return version2 = Number(text) >= 2;
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
    return version2 = false;
  }
}

function sendError(error: unknown, path: string, options: SendOptions): OpError {
  if (isSysError(error, "ENOENT") && options.parent) {
    return new OpError(
      "no_parent",
      `Cannot send ${path} as a difference to ${options.parent}: they are no relatives`,
      { cause: error, hint: "send it in full" },
    );
  }
  if (isSysError(error, "EPERM")) {
    return new OpError("permission_denied", `Cannot send ${path}: only root may`, {
      cause: error,
      hint: "run as root, or make a package from the folder: op-dbus plugin pack",
    });
  }
  if (isSysError(error, "EPROTO")) {
    return new OpError("no_protocol_2", `Cannot send ${path}: no protocol 2 here`, {
      cause: error,
      hint: "send it without compressed data",
    });
  }
  return asOpError(error, `Cannot send ${path}`);
}
