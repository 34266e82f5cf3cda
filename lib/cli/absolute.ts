/** Paths that the user typed. */
import { InputError } from "../base/errors.ts";
import { statOrNull } from "../base/stat.ts";

/**
 * A path as it was typed, from the current folder where it does not begin with /. Its
 * ".." stay: behind a link they lead elsewhere than the text says.
 */
export function absolute(path: string): string {
  if (path.startsWith("/")) return path;
  return `${Deno.cwd()}/${path.replace(/^(\.\/+)+/, "")}`.replace(/\/\.$/, "");
}

/**
 * {@link absolute} of a folder that something is to be written into. Checked before the
 * work, so that none is done in vain.
 *
 * @throws {InputError} `no_such_folder`, `not_a_folder`
 */
export function outputFolder(path: string): string {
  const folder = absolute(path), found = statOrNull(folder);
  const refuse = (code: string, why: string, hint: string) =>
    new InputError(code, `Cannot write into ${folder}: ${why}`, { hint });
  if (!found) {
    throw refuse("no_such_folder", "there is no such folder", "make it, or name another");
  }
  if (found.isDirectory) return folder;
  throw refuse("not_a_folder", "it is no folder", "name a folder");
}

/**
 * {@link absolute} of a file to be read; a pipe is as good.
 *
 * @throws {InputError} `no_such_file`, `not_a_file`
 */
export function inputFile(path: string): string {
  const file = absolute(path), found = statOrNull(file);
  const refuse = (code: string, why: string, hint: string) =>
    new InputError(code, `Cannot read ${file}: ${why}`, { hint });
  if (!found) throw refuse("no_such_file", "there is no such file", "check the path");
  if (!found.isDirectory) return file;
  throw refuse("not_a_file", "it is a folder, not a file", "name the file itself");
}

/** {@link absolute} of a file to be written; its folder is checked as the output's. */
export function outputFile(path: string): string {
  const file = absolute(path);
  outputFolder(file.slice(0, file.lastIndexOf("/")) || "/");
  return file;
}
