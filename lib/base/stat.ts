/** Looking at paths that may lead nowhere. */

/**
 * What a path leads to, links followed.
 *
 * @returns null where nothing is there, or a part of the way is no folder
 * @throws what else Deno.statSync gave
 */
export function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    const absent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (absent) return null;
    throw error;
  }
}
