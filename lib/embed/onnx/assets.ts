/**
 * The two engines' binaries: where they are, and that they are what they should be.
 *
 * In the executable they lie beside the bundle; in a checkout they are in Deno's npm
 * cache. Both are compared with a SHA-256 written here. A library that the user names is
 * taken as it is, if nobody else could have written it.
 */
import {
  close,
  effectiveUid,
  memfdCreate,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  writeAll,
} from "../../../ffi/files.ts";
import { isSysError } from "../../../ffi/errno.ts";
import { fstat, isRegular, type Stat } from "../../../ffi/stat.ts";
import { InputError, OpError } from "../../base/errors.ts";
import { checkDigest, verifyOnce } from "./stamp.ts";

/** One binary that op-dbus brings along. */
export interface Asset {
  /** Name beside the bundle. */
  readonly fileName: string;
  readonly npmPackage: string;
  readonly npmVersion: string;
  /** Path inside the npm package, by architecture. */
  readonly npmPath: Readonly<Record<string, string>>;
  readonly sha256: Readonly<Record<string, string>>;
}

const ONNXRUNTIME_VERSION = "1.30.0";
const WASM_PATH = "dist/ort-wasm-simd-threaded.wasm";
const WASM_SHA256 = "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2";

/** What must be embedded into the executable, beside the bundle, as it is. */
export const ASSETS = {
  /** ONNX Runtime's shared library. */
  native: {
    fileName: "libonnxruntime.so.1",
    npmPackage: "onnxruntime-node",
    npmVersion: ONNXRUNTIME_VERSION,
    npmPath: {
      x86_64: "bin/napi-v6/linux/x64/libonnxruntime.so.1",
      aarch64: "bin/napi-v6/linux/arm64/libonnxruntime.so.1",
    },
    sha256: {
      x86_64: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
      aarch64: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
    },
  },
  /** ONNX Runtime compiled to WebAssembly. */
  wasm: {
    fileName: "ort-wasm-simd-threaded.wasm",
    npmPackage: "onnxruntime-web",
    npmVersion: ONNXRUNTIME_VERSION,
    npmPath: { x86_64: WASM_PATH, aarch64: WASM_PATH },
    sha256: { x86_64: WASM_SHA256, aarch64: WASM_SHA256 },
  },
} as const satisfies Record<string, Asset>;

/** True in a checkout, false in a bundle: the bundle's file has another name. */
const IN_CHECKOUT = import.meta.url.endsWith("/lib/embed/onnx/assets.ts");

/**
 * Where Deno's npm cache has an asset; null where it has not.
 *
 * @param architecture of the machine that will run it
 */
export function locateInNpmCache(
  asset: Asset,
  architecture: string = Deno.build.arch,
): string | null {
  const cache = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? ""}/.cache`}/deno`;
  const inside = asset.npmPath[architecture];
  if (!inside) return null;
  for (const registry of folders(`${cache}/npm`)) {
    const home = `${cache}/npm/${registry}/${asset.npmPackage}/${asset.npmVersion}`;
    if (exists(`${home}/${inside}`)) return `${home}/${inside}`;
  }
  return null;
}

/**
 * An asset's bytes, checked.
 *
 * @throws {OpError} when it is nowhere, or is not the one this version was built with
 */
export async function readAsset(asset: Asset): Promise<Uint8Array<ArrayBuffer>> {
  const path = placeOf(asset);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    throw new OpError("runtime_missing", `Cannot read ${path}: ${text(error)}`, {
      cause: error,
      hint: "download op-dbus again: its file is incomplete",
    });
  }
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  checkDigest(path, new Uint8Array(digest).toHex(), asset.sha256[Deno.build.arch]);
  return bytes;
}

/** Where an asset is: beside the bundle, or in Deno's npm cache. */
function placeOf(asset: Asset): string {
  if (!IN_CHECKOUT) {
    return decodeURIComponent(new URL(`./${asset.fileName}`, import.meta.url).pathname);
  }
  const path = locateInNpmCache(asset);
  if (path !== null) return path;
  const name = `${asset.npmPackage}@${asset.npmVersion}`;
  throw new OpError(
    "runtime_missing",
    `Cannot find ${asset.fileName}: Deno's cache has no ${name} for this machine`,
    { hint: "run: deno install" },
  );
}

/** A shared library that can be opened by path until it is disposed. */
export interface LibraryFile extends Disposable {
  readonly path: string;
  /** `built-in` or the path that the user named. */
  readonly origin: string;
}

/**
 * The native library: the one named, else the built-in one.
 *
 * A built-in one on the disk is hashed once; afterwards a stamp of its inode says that it
 * is still the same. It is loaded by the descriptor that was checked, so nobody can put
 * another file in its place. One inside the executable, which is no file of its own, is
 * hashed and goes through a memfd: it never touches the disk.
 *
 * @param named absolute path from flag, environment or config; empty for none
 * @param stampFolder where stamps are kept; without one the library is hashed every time
 */
export async function nativeLibrary(
  named: string,
  stampFolder?: string,
): Promise<LibraryFile> {
  if (named !== "") {
    return { path: vouchedFor(named), origin: named, [Symbol.dispose]() {} };
  }
  const asset = ASSETS.native;
  const path = placeOf(asset);
  const fd = openIfPrivate(path);
  const checked = fd ?? await copyToMemory(asset);
  try {
    if (fd !== null) {
      const sha256 = asset.sha256[Deno.build.arch as keyof typeof asset.sha256];
      await verifyOnce(fd, path, sha256, stampFolder);
    }
  } catch (error) {
    close(checked);
    throw error;
  }
  return {
    path: `/proc/self/fd/${checked}`,
    origin: "built-in",
    [Symbol.dispose]: () => close(checked),
  };
}

/** Opens a file that nobody but root and we can write; null for any other. */
function openIfPrivate(path: string): number | null {
  let fd: number;
  try {
    fd = open(path, O_RDONLY | O_NOFOLLOW);
  } catch (error) {
    // Inside an executable made by deno compile only Deno sees the file.
    if (isSysError(error)) return null;
    throw error;
  }
  if (obstacle(fstat(fd, path)) === null) return fd;
  close(fd);
  return null;
}

async function copyToMemory(asset: Asset): Promise<number> {
  const bytes = await readAsset(asset);
  const fd = memfdCreate(asset.fileName);
  try {
    writeAll(fd, bytes);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * Checks that only root and we can write a library.
 *
 * @throws {InputError} when somebody else could, or it is no absolute path
 */
function vouchedFor(path: string): string {
  const refuse = (why: string) =>
    new InputError("bad_library", `Cannot load ${path}: ${why}`, {
      hint: "name a libonnxruntime.so of version 1.17 or newer, owned by root or you",
    });
  if (!path.startsWith("/")) throw refuse("it is not an absolute path");
  const fd = open(path, O_RDONLY);
  try {
    const why = obstacle(fstat(fd, path));
    if (why !== null) throw refuse(why);
  } finally {
    close(fd);
  }
  return path;
}

/** Why a file may have been written by somebody else; null where it may not. */
function obstacle(stat: Stat): string | null {
  if (!isRegular(stat)) return "it is not a file";
  if (stat.uid !== 0 && stat.uid !== effectiveUid()) {
    return `it belongs to user ${stat.uid}`;
  }
  return stat.mode & 0o022 ? "other users can write it" : null;
}

function folders(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].filter((e) => e.isDirectory).map((e) => e.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
