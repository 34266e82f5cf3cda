/** libc inside a worker whose program is text. */

/**
 * Opens the first of the libraries that is there.
 *
 * It is turned into text, beside the worker's own program: it must not refer to anything
 * outside of itself, and hold no named function (esbuild's --keep-names would wrap it in a
 * helper that is not there).
 *
 * @param libraries absolute paths, as `libraryCandidates` gives them
 * @returns null where none can be opened
 */
export function openWorkerLibc<const S extends Deno.ForeignLibraryInterface>(
  libraries: readonly string[],
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] | null {
  for (let i = 0; i < libraries.length; i++) {
    try {
      return Deno.dlopen(libraries[i]!, symbols).symbols;
    } catch {
      continue; // the next folder; one of them gave the main thread its libc
    }
  }
  return null;
}
