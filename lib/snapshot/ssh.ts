/**
 * Commands on another host, over the system's ssh. Arguments are lists; since sshd hands
 * one text to the remote shell, each is quoted so that the shell gives it back unchanged.
 */
import { InputError, OpError } from "../base/errors.ts";

/** A host and a folder on it. */
export interface SshTarget {
  readonly user: string | null;
  readonly host: string;
  readonly port: number | null;
  /** Absolute path there. */
  readonly path: string;
}

const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$|^\[[0-9A-Fa-f:.%]+\]$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/**
 * Reads `ssh://user@host:port/path`.
 *
 * @throws {InputError} `bad_url`; in particular nothing that ssh could take for an option
 */
export function parseSshUrl(url: string): SshTarget {
  const match = /^ssh:\/\/(?:([^@/]+)@)?(\[[^\]/]+\]|[^:/@]+)(?::(\d{1,5}))?(\/.+)$/
    .exec(url);
  const [, user, host, port, path] = match ?? [];
  const known = match && HOST.test(host!) && (user === undefined || USER.test(user)) &&
    !/\p{Cc}/u.test(path!) && !path!.split("/").includes("..") &&
    (port === undefined || (Number(port) > 0 && Number(port) < 65536));
  if (!known) {
    throw new InputError("bad_url", `Cannot read ${url}: it is no ssh address`, {
      hint: "write ssh://user@host/path or ssh://host:2222/path",
    });
  }
  return {
    user: user ?? null,
    host: host!.replace(/^\[|\]$/g, ""),
    port: port === undefined ? null : Number(port),
    path: path!.replace(/\/+$/, "") || "/",
  };
}

/** One argument for a POSIX shell, which gives it back as it was. */
export function shellQuote(argument: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(argument)
    ? argument
    : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** How to reach hosts. */
export interface SshOptions {
  /** The ssh program and options before the host; default `ssh`. */
  readonly program?: readonly string[];
}

/** What a remote command gave. */
export interface SshResult {
  readonly code: number;
  readonly stdout: string;
  /** The last line of its standard error, for a message. */
  readonly reason: string;
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** ssh's own failures: no route, refused, wrong key. */
const SSH_FAILED = 255;

/** What every command over ssh may have. */
interface RunOptions extends SshOptions {
  readonly signal?: AbortSignal;
}

/**
 * Runs a command there.
 *
 * @param input written to its standard input; none by default
 * @throws {OpError} `ssh_failed` when the host cannot be reached
 */
export async function runOverSsh(
  target: SshTarget,
  command: readonly string[],
  options: RunOptions & { readonly input?: AsyncIterable<Uint8Array> } = {},
): Promise<SshResult> {
  using ssh = new SshProcess(target, command, options, options.input !== undefined);
  const [text, failure, end] = await Promise.all([
    readAll(ssh.child.stdout),
    options.input ? feed(ssh.child.stdin, options.input, ssh.stop) : null,
    ssh.end(),
  ]);
  options.signal?.throwIfAborted();
  if (failure) throw failure.error;
  return { ...ssh.reached(end), stdout: text };
}

/**
 * Runs a command there and gives what it prints as it comes. Ending the loop ends it.
 *
 * @returns how it ended, without what it printed
 * @throws {OpError} `ssh_failed` when the host cannot be reached
 */
export async function* readOverSsh(
  target: SshTarget,
  command: readonly string[],
  options: RunOptions = {},
): AsyncGenerator<Uint8Array, SshResult> {
  using ssh = new SshProcess(target, command, options, false);
  const end = ssh.end();
  let whole = false;
  try {
    yield* ssh.child.stdout;
    whole = true;
  } finally {
    if (!whole) ssh.stop();
    await end;
  }
  options.signal?.throwIfAborted();
  return { ...ssh.reached(await end), stdout: "" };
}

/** How a command ended. */
interface SshEnd {
  readonly code: number;
  readonly reason: string;
}

/** One run of ssh. Dispose no longer listens to the signal that stops it. */
class SshProcess implements Disposable {
  readonly child: Deno.ChildProcess;
  readonly #place: string;
  readonly #signal: AbortSignal | undefined;
  readonly stop = () => {
    try {
      this.child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
  };

  constructor(
    { user, host, port }: SshTarget,
    command: readonly string[],
    options: RunOptions,
    input: boolean,
  ) {
    const [program, ...before] = options.program ?? ["ssh"];
    this.#place = user === null ? host : `${user}@${host}`;
    this.child = start(this.#place, program!, {
      args: [
        ...before,
        ...["-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"],
        ...["-o", "ServerAliveCountMax=4"],
        ...(port === null ? [] : ["-p", String(port)]),
        "--",
        this.#place,
        command.map(shellQuote).join(" "),
      ],
      stdin: input ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
    });
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.stop, { once: true });
  }

  /** Waits for its end. */
  async end(): Promise<SshEnd> {
    const [text, { code }] = await Promise.all([
      readAll(this.child.stderr),
      this.child.status,
    ]);
    return { code, reason: text.trim().split("\n").at(-1) ?? "" };
  }

  /** @throws {OpError} `ssh_failed` when it ended because ssh itself failed */
  reached(end: SshEnd): SshEnd {
    if (end.code === SSH_FAILED) throw unreachable(this.#place, end.reason);
    return end;
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.stop);
  }
}

function start(place: string, program: string, options: Deno.CommandOptions) {
  try {
    return new Deno.Command(program, options).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new OpError("ssh_failed", `Cannot reach ${place} by ssh: no ${program} here`, {
      hint: "install an ssh client (Debian: openssh-client), or send to a file or folder",
      cause: error,
    });
  }
}

function unreachable(place: string, reason: string): OpError {
  return new OpError("ssh_failed", `Cannot reach ${place} by ssh: ${reason}`, {
    hint: "try it by hand: ssh " + place + "; op-dbus needs a key that asks nothing",
  });
}

/** Writes the input; what reading it failed with is returned, and ends the child. */
async function feed(
  stdin: WritableStream<Uint8Array>,
  input: AsyncIterable<Uint8Array>,
  stop: () => void,
): Promise<{ error: unknown } | null> {
  const writer = stdin.getWriter();
  const iterator = input[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await iterator.next();
    } catch (error) {
      stop();
      await writer.abort().catch(() => {}); // the child is being ended already
      return { error };
    }
    try {
      if (next.done) {
        await writer.close();
        return null;
      }
      await writer.write(next.value);
    } catch {
      await iterator.return?.();
      return null; // the other side stopped reading: its exit code says why
    }
  }
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", total = 0;
  for await (const chunk of stream) {
    total += chunk.length;
    if (total > MAX_ANSWER_BYTES) {
      throw new OpError("ssh_failed", "The answer is too long");
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
