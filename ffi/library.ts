/**
 * Opening shared libraries. Always by absolute path: a bare name would load a planted
 * `./libc.so.6` from the working directory.
 */
import { arch } from "./arch.ts";

/** Folders that a distribution's own libraries live in, most specific first. */
const LIBRARY_FOLDERS: readonly string[] = [
  `/lib/${arch.multiarch}`,
  `/usr/lib/${arch.multiarch}`,
  "/lib64",
  "/usr/lib64",
  "/lib",
  "/usr/lib",
];

/** Thrown when a library is in none of the folders it may be loaded from. */
export class LibraryMissingError extends Error {
  override readonly name = "LibraryMissingError";
  /**
   * @param soname the library's file name, e.g. `libnuma.so.1`
   * @param reasons one line per place that was tried
   */
  constructor(readonly soname: string, readonly reasons: readonly string[]) {
    super(`Cannot load ${soname}: tried ${reasons.join("; ")}`);
  }
}

/**
 * Opens a system library by absolute path.
 *
 * @param soname file name with its version, e.g. `libc.so.6`; no slash
 * @param symbols the symbol table
 * @throws {LibraryMissingError} when no system folder has a loadable one
 */
export function openSystemLibrary<const S extends Deno.ForeignLibraryInterface>(
  soname: string,
  symbols: S,
): Deno.DynamicLibrary<S> {
  if (soname.includes("/")) throw new TypeError(`Not a bare library name: ${soname}`);
  const reasons: string[] = [];
  for (const folder of LIBRARY_FOLDERS) {
    const path = `${folder}/${soname}`;
    try {
      return Deno.dlopen(path, symbols);
    } catch (error) {
      reasons.push(`${path} (${error instanceof Error ? error.message : error})`);
    }
  }
  throw new LibraryMissingError(soname, reasons);
}

/** The absolute paths that a system library may be at, most specific first. */
export function libraryCandidates(soname: string): string[] {
  return LIBRARY_FOLDERS.map((folder) => `${folder}/${soname}`);
}

/**
 * Opens a library at a path the caller vouches for (a memfd under /proc/self/fd, or a
 * path that the user named).
 *
 * @param path absolute path
 * @throws {TypeError} when the path is relative
 */
export function openLibraryAt<const S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
): Deno.DynamicLibrary<S> {
  if (!path.startsWith("/")) throw new TypeError(`Not an absolute path: ${path}`);
  return Deno.dlopen(path, symbols);
}
