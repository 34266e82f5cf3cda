/**
 * A path as it was typed, from the current folder where it does not begin with /. Its
 * ".." stay: behind a link they lead elsewhere than the text says.
 */
export function absolute(path: string): string {
  if (path.startsWith("/")) return path;
  return `${Deno.cwd()}/${path.replace(/^(\.\/+)+/, "")}`.replace(/\/\.$/, "");
}
