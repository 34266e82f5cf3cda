/** Replacing the executable that runs by a newer one. */
import { asOpError, DifferenceError, InputError, OpError } from "../base/errors.ts";
import { readTextFile } from "../../ffi/directory.ts";
import {
  AT_FDCWD,
  fchmod,
  fsync,
  fsyncFolder,
  linkAt,
  O_RDONLY,
  open,
  rename,
  withFd,
} from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { runProgram } from "../../ffi/spawn.ts";
import { download, type FetchOptions } from "../plugin/download.ts";
import { digestFile } from "../plugin/minisign/sign.ts";
import type { VerifiedRelease } from "./release.ts";
import { workFolder } from "./work_folder.ts";

/** An executable is about 65 MB; whatever is far larger is not one. */
const MAX_EXECUTABLE_BYTES = 300 * 1024 * 1024;
const EXECUTABLE_MODE = 0o755;

/**
 * The file to replace.
 *
 * @param named OPDBUS_EXE, which the self-extracting form sets to itself
 * @throws {InputError} `not_installed` when op-dbus runs from its sources
 */
export function runningExecutable(named: string | undefined): string {
  const path = named ?? (Deno.build.standalone ? Deno.execPath() : undefined);
  if (path === undefined) {
    throw new InputError(
      "not_installed",
      "Cannot update: op-dbus runs from its sources",
      {
        hint: "git pull, or install the executable",
      },
    );
  }
  return Deno.realPathSync(path);
}

/** What an update did. */
export interface UpdateResult {
  readonly path: string;
  /** Where what was there before is kept. */
  readonly previous: string;
}

/**
 * Downloads a release beside the executable, checks its digest, starts it once, keeps the
 * present one as `.previous`, and exchanges the two by one rename.
 *
 * @param path the executable, absolute
 * @throws {DifferenceError} `wrong_digest`
 * @throws {OpError} `does_not_start`; what downloading gave. Nothing has changed then.
 */
export async function installRelease(
  release: VerifiedRelease,
  path: string,
  options: FetchOptions = {},
): Promise<UpdateResult> {
  using work = workFolder(path);
  const made = `${work.path}/op-dbus`;
  await download(release.url, { path: made, sizeBytes: MAX_EXECUTABLE_BYTES }, options);
  const { sha256 } = digestFile(made);
  if (sha256 !== release.sha256) {
    throw new DifferenceError(
      "wrong_digest",
      `Wrong SHA-256 of ${release.url.href}: ${sha256}, not the one that was signed`,
      { hint: "nothing was changed; try again, and tell whoever runs that server" },
    );
  }
  makeProgram(made);
  await requireStart(made, `${work.path}/answer`, release.version);
  options.signal?.throwIfAborted();
  const previous = `${path}.previous`;
  try {
    keep(path, `${work.path}/previous`, previous);
    rename(made, path);
    fsyncFolder(path.slice(0, path.lastIndexOf("/")) || "/");
  } catch (error) {
    throw asOpError(error, `Cannot replace ${path}`);
  }
  return { path, previous };
}

function makeProgram(path: string): void {
  withFd(open(path, O_RDONLY), (fd) => {
    fchmod(fd, EXECUTABLE_MODE);
    fsync(fd, path);
  });
}

/** Starts the new file and compares the version that it says it is. */
async function requireStart(program: string, answer: string, version: string) {
  const kept = ["HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "OPDBUS_RUNTIME_DIR"];
  const env = kept.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [`${name}=${value}`];
  });
  const refused = (why: string) =>
    new OpError("does_not_start", `The new op-dbus does not start: ${why}`, {
      hint: "nothing was changed",
    });
  const status = await runProgram(program, ["version", "--json"], env, answer)
    .catch((error) => {
      throw isSysError(error) ? refused(error.message) : error;
    });
  const says = status === 0 ? versionIn(readTextFile(answer)) : null;
  if (says === version) return;
  if (status !== 0) throw refused(`status ${status}`);
  throw refused(says === null ? "it tells no version" : `it says it is ${says}`);
}

function versionIn(text: string): string | null {
  try {
    const { version } = JSON.parse(text) ?? {};
    return typeof version === "string" ? version : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * Gives the present file a second name, by rename so that it is there or not. From the
 * work folder: where both names are one file already (an update that was killed here),
 * rename(2) does nothing and leaves the name that it should have taken away.
 */
function keep(path: string, name: string, previous: string): void {
  try {
    linkAt(AT_FDCWD, path, AT_FDCWD, name);
  } catch (error) {
    // No links on this file system, or none to a file of somebody else's
    // (fs.protected_hardlinks).
    if (!isSysError(error, "EPERM", "EOPNOTSUPP", "EMLINK")) throw error;
    Deno.copyFileSync(path, name);
    makeProgram(name);
  }
  rename(name, previous);
}
