/** The project's own sources, for tests of its habits. */
const REPO = new URL("../../", import.meta.url).pathname;

/** Every .ts file under the named files and folders, with its path from the repository. */
export function sources(under: readonly string[]): { path: string; text: string }[] {
  const found: { path: string; text: string }[] = [];
  const visit = (path: string) => {
    const full = REPO + path;
    if (!exists(full)) return;
    if (Deno.statSync(full).isDirectory) {
      for (const entry of Deno.readDirSync(full)) visit(`${path}/${entry.name}`);
    } else if (path.endsWith(".ts")) {
      found.push({ path, text: Deno.readTextFileSync(full) });
    }
  };
  under.forEach(visit);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
