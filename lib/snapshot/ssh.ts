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
  /** Its last line, for a message. */
  readonly reason: string;
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** ssh's own failures: no route, refused, wrong key. */
const SSH_FAILED = 255;

/**
 * Runs a command there.
 *
 * @param input written to its standard input; none by default
 * @throws {OpError} `ssh_failed` when the host cannot be reached
 */
export async function runOverSsh(
  target: SshTarget,
  command: readonly string[],
  options: SshOptions & {
    readonly input?: AsyncIterable<Uint8Array>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<SshResult> {
  const [program, ...before] = options.program ?? ["ssh"];
  const place = target.user === null ? target.host : `${target.user}@${target.host}`;
  const child = new Deno.Command(program!, {
    args: [
      ...before,
      ...["-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"],
      ...["-o", "ServerAliveCountMax=4"],
      ...(target.port === null ? [] : ["-p", String(target.port)]),
      "--",
      place,
      command.map(shellQuote).join(" "),
    ],
    stdin: options.input ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stop = () => {
    try {
      child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
  };
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    const feeding = options.input ? feed(child.stdin, options.input, stop) : null;
    const [stdout, stderr, status] = await Promise.all([
      readAll(child.stdout),
      readAll(child.stderr),
      child.status,
    ]);
    const failure = await feeding;
    options.signal?.throwIfAborted();
    if (failure) throw failure.error;
    const reason = stderr.trim().split("\n").at(-1) ?? "";
    if (status.code === SSH_FAILED) throw unreachable(place, reason);
    return { code: status.code, stdout, reason };
  } finally {
    options.signal?.removeEventListener("abort", stop);
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
