/** Passwords: from a file, the environment, or the terminal without echo. */
import { ConfirmationError, InputError } from "../base/errors.ts";
import { type Context, interrupted } from "./context.ts";

/** Longest password that is read. */
const MAX_BYTES = 1024;
const VARIABLE = "OPDBUS_KEY_PASSWORD";

/**
 * A password.
 *
 * @param file `--password-file`; its first line
 * @param question what the terminal asks
 * @param twice ask again, for a new one
 * @throws {ConfirmationError} when there is no terminal to ask
 */
export async function password(
  context: Context,
  file: string | undefined,
  question: string,
  twice = false,
): Promise<string> {
  if (file !== undefined) {
    const { readTextFile } = await import("../../ffi/directory.ts");
    return readTextFile(file, MAX_BYTES).split(/\r?\n/)[0]!;
  }
  const given = Deno.env.get(VARIABLE);
  if (given !== undefined) return given;
  if (!Deno.stdin.isTerminal()) {
    throw new ConfirmationError("password_needed", "A password is needed", {
      hint: `use --password-file FILE, or set ${VARIABLE}`,
    });
  }
  const first = await ask(context, question);
  if (twice && await ask(context, `${question} again`) !== first) {
    throw new InputError("password_differs", "The two passwords differ", {
      hint: "try again",
    });
  }
  return first;
}

const ENTER = [10, 13], BACKSPACE = [8, 127], INTERRUPT = 3, END = 4;

async function ask(context: Context, question: string): Promise<string> {
  const write = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  // Raw before it asks: a Ctrl-C in between would be a signal, of which no read hears.
  Deno.stdin.setRaw(true);
  try {
    write(`${question}: `);
    const bytes: number[] = [];
    const piece = new Uint8Array(64);
    for (;;) {
      context.signal.throwIfAborted();
      const n = await Deno.stdin.read(piece) ?? 0;
      if (n === 0) return new TextDecoder().decode(new Uint8Array(bytes));
      for (const byte of piece.subarray(0, n)) {
        if (ENTER.includes(byte) || byte === END) {
          return new TextDecoder().decode(new Uint8Array(bytes));
        }
        // Raw, the terminal sends no signal; and a read that waits would not hear of one.
        if (byte === INTERRUPT) throw interrupted("SIGINT");
        if (BACKSPACE.includes(byte)) bytes.pop();
        else if (bytes.length < MAX_BYTES) bytes.push(byte);
      }
    }
  } finally {
    Deno.stdin.setRaw(false);
    write("\n");
  }
}

/** The secret key in a file, opened with its password where it has one. */
export async function secretKey(
  context: Context,
  file: string,
  passwordFile: string | undefined,
) {
  const { readTextFile } = await import("../../ffi/directory.ts");
  const { parseSecretKey } = await import("../plugin/minisign/secret_key.ts");
  const { MAX_MINISIGN_BYTES } = await import("../plugin/minisign/format.ts");
  const { asOpError } = await import("../base/errors.ts");
  let text: string;
  try {
    text = readTextFile(file, MAX_MINISIGN_BYTES);
  } catch (error) {
    const { code, message } = asOpError(error, "Cannot read the secret key");
    throw new InputError(code, message, {
      cause: error,
      hint: "make one with: op-dbus key generate NAME",
    });
  }
  return await parseSecretKey(
    text,
    () => password(context, passwordFile, `Password of ${file}`),
    file,
  );
}
