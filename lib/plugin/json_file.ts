/** Small JSON files of our own: checked when read, replaced whole when written. */
import * as v from "valibot";
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import {
  AT_FDCWD,
  mkdirAt,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  rename,
  unlinkAt,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { InputError } from "../base/errors.ts";
import { temporaryBeside, writeDurably } from "../base/durable.ts";

/**
 * Parses JSON and checks it.
 *
 * @param text the document
 * @param file how to call it in messages
 * @param code of the error
 * @throws {InputError} naming the first thing that is wrong, by its path
 */
export function parseJson<S extends v.GenericSchema>(
  schema: S,
  text: string,
  file: string,
  code = "invalid_file",
): v.InferOutput<S> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(code, `Not JSON: ${file}`, {
      cause: error,
      hint: "restore it from a copy, or fetch it again",
    });
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = (issue.path ?? []).map((item) => `/${String(item.key)}`).join("");
  throw new InputError(code, `Invalid ${file}: ${path || "/"}: ${issueText(issue)}`, {
    hint: "restore it from a copy, or fetch it again",
  });
}

function issueText(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === "schema" && issue.received === "undefined") return "missing";
  return issue.message.startsWith("Invalid ")
    ? `must be ${issue.expected ?? "something else"}`
    : issue.message;
}

/** {@link parseJson} of a file; null where there is none. */
export function readJsonFile<S extends v.GenericSchema>(
  schema: S,
  path: string,
  limitBytes = 16 * 1024 * 1024,
): v.InferOutput<S> | null {
  let text: string;
  try {
    text = readTextFile(path, limitBytes);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
  return parseJson(schema, text, path);
}

/** Replaces a JSON file durably; makes its folder where it is missing. */
export function writeJsonFile(path: string, value: unknown, mode = 0o644): void {
  ensureFolder(path.slice(0, path.lastIndexOf("/")));
  const text = JSON.stringify(value, null, 2) + "\n";
  writeDurably(path, new TextEncoder().encode(text), mode);
}

/**
 * {@link writeJsonFile} without any fsync: whole in every crash of the process, durable
 * once the caller has synced the file system.
 */
export function writeJsonUnsynced(path: string, value: unknown): void {
  ensureFolder(path.slice(0, path.lastIndexOf("/")));
  const temporary = temporaryBeside(path);
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  try {
    withFd(open(temporary, flags, 0o644), (fd) => {
      writeAll(fd, new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n"));
    });
    rename(temporary, path);
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
}

/** Removes a file; nothing where there is none. */
export function removeIfThere(path: string): void {
  try {
    unlinkAt(AT_FDCWD, path);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
}

/** Makes a folder and its parents where they are missing. */
export function ensureFolder(path: string, mode = 0o755): void {
  try {
    mkdirAt(AT_FDCWD, path, mode);
  } catch (error) {
    if (isSysError(error, "EEXIST")) return;
    if (!isSysError(error, "ENOENT")) throw error;
    ensureFolder(path.slice(0, path.lastIndexOf("/")), mode);
    ensureFolder(path, mode);
  }
}
