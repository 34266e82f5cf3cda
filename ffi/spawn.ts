/**
 * Starting one program by its path. For the one case that Deno's own permission cannot
 * name beforehand: a freshly downloaded op-dbus that is asked for its version.
 */
import { type BytePath, cString, printable, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY } from "./files.ts";

/** Larger than posix_spawn_file_actions_t is in any libc (80 bytes in glibc). */
const ACTIONS_BYTES = 256;
const POINTER_BYTES = 8;
const ENOSYS = 38;

/** A NULL-terminated array of C strings; the strings live as long as the array. */
function stringArray(texts: readonly string[]) {
  const strings = texts.map((text) => cString(text));
  const pointers = new BigUint64Array(texts.length + 1);
  strings.forEach((string, index) => {
    pointers[index] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(string));
  });
  return {
    bytes: new Uint8Array(pointers.buffer, 0, pointers.length * POINTER_BYTES),
    strings,
  };
}

/**
 * posix_spawn(3) and waitpid(2): runs a program to its end.
 *
 * @param path of the program; no PATH is searched
 * @param args what follows its name
 * @param env its whole environment, `NAME=value`
 * @param outputPath gets its standard output; input and standard error are /dev/null
 * @returns its exit status; 128 plus the number for a signal, as shells say it
 * @throws {SysError} when it cannot be started
 */
export async function runProgram(
  path: BytePath,
  args: readonly string[],
  env: readonly string[],
  outputPath: BytePath,
): Promise<number> {
  const require = (result: number, call: string) => {
    // These return the error's number instead of setting errno.
    if (result !== 0) throw new SysError(call, printable(path), result);
  };
  const { posix_spawn, waitpid } = sys;
  if (posix_spawn === null || waitpid === null) {
    throw new SysError("posix_spawn", printable(path), ENOSYS);
  }
  const actions = new Uint8Array(ACTIONS_BYTES);
  require(sys.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
  const pid = new Int32Array(1);
  const argv = stringArray([printable(path), ...args]), envp = stringArray(env);
  const none = cString("/dev/null"), output = cString(outputPath);
  try {
    const open = (fd: number, file: Uint8Array<ArrayBuffer>, flags: number) =>
      require(
        sys.posix_spawn_file_actions_addopen(actions, fd, file, flags, 0o600),
        "posix_spawn_file_actions_addopen",
      );
    open(0, none, O_RDONLY);
    open(1, output, O_WRONLY | O_CREAT | O_TRUNC);
    open(2, none, O_WRONLY);
    const program = cString(path);
    require(
      posix_spawn(pid, program, actions, null, argv.bytes, envp.bytes),
      "posix_spawn",
    );
  } finally {
    sys.posix_spawn_file_actions_destroy(actions);
  }
  const status = new Int32Array(1);
  const ended = await waitpid(pid[0]!, status, 0);
  if (ended !== pid[0]) throw new SysError("waitpid", printable(path), 10);
  const signal = status[0]! & 0x7f;
  return signal === 0 ? (status[0]! >> 8) & 0xff : 128 + signal;
}
