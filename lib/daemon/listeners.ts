/** Where the service listens: sockets that systemd opened, a unix socket, a TCP address. */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, umask, unlinkAt } from "../../ffi/files.ts";
import { isListeningUnixStream } from "../../ffi/socket_kind.ts";
import { S_IFMT, S_IFSOCK, statAt } from "../../ffi/stat.ts";
import { asOpError, OpError } from "../base/errors.ts";
import { makeFolder } from "../base/folder.ts";
import type { Listening, ListenOn } from "./http_server.ts";

const SOCKET_MODE = 0o660;

/** What listening needs of the HTTP server. */
export interface ListensOn {
  listen(on: ListenOn): Promise<Listening>;
}

/** A TCP address that is listened on, but not yet instead of the one before. */
export interface PreparedTcp extends Disposable {
  commit(): void;
}

/** The sockets of a service. */
export class Listeners {
  #path: string | null = null;
  #tcp: Listening | null = null;

  constructor(
    readonly server: ListensOn,
    readonly log: (what: string, fields: Record<string, string | number>) => void,
  ) {}

  /**
   * Takes over sockets that systemd opened. A TCP socket is not: whom it lets in, and with
   * what token, is known only of an address that the configuration names.
   *
   * @throws {OpError} `cannot_listen` for one that is no unix stream socket
   */
  async takeOver(fds: readonly number[]): Promise<void> {
    for (const fd of fds) {
      try {
        if (!isListeningUnixStream(fd)) throw new TypeError("no listening unix socket");
        await this.server.listen({ fd });
      } catch (cause) {
        const message = `Cannot take over the socket that systemd opened as ${fd}`;
        const hint = "give it unix stream sockets only; for TCP set serve.listen";
        throw new OpError("cannot_listen", message, { cause, hint });
      }
    }
    if (fds.length > 0) this.log("took over sockets", { count: fds.length });
  }

  /**
   * Listens on a unix socket; its folder is made where it is missing.
   * @throws {OpError} `cannot_listen`
   */
  async onPath(path: string): Promise<void> {
    const folder = path.slice(0, path.lastIndexOf("/"));
    try {
      if (folder !== "") makeFolder(folder);
    } catch (error) {
      throw asOpError(error, `Cannot make the folder of the socket`);
    }
    await removeStale(path);
    // Made with the narrower mode at once: chmod alone would leave a moment open to all.
    const before = umask(0o777 & ~SOCKET_MODE);
    try {
      await this.server.listen({ path });
    } finally {
      umask(before);
    }
    await Deno.chmod(path, SOCKET_MODE);
    this.#path = path;
    this.log("listening", { socket: path });
  }

  /**
   * Listens on a TCP address beside the one before, which goes on until `commit`.
   *
   * @param on null for none
   * @returns to be committed or disposed of
   * @throws {OpError} `cannot_listen`
   */
  async tcp(on: ListenOn | null): Promise<PreparedTcp> {
    const next = on && await this.server.listen(on);
    let committed = false;
    return {
      commit: () => {
        committed = true;
        this.#tcp?.close();
        this.#tcp = next;
        if (!next || !on || !("port" in on)) return;
        this.log("listening", { host: on.host, port: next.port ?? on.port });
      },
      [Symbol.dispose]: () => void (committed || next?.close()),
    };
  }

  /** Removes the unix socket, if it was made here. */
  [Symbol.dispose](): void {
    if (this.#path !== null) unlinkQuietly(this.#path);
  }
}

/** Removes a socket that nobody listens on; one in use is left alone. */
async function removeStale(path: string): Promise<void> {
  try {
    if ((statAt(AT_FDCWD, path).mode & S_IFMT) !== S_IFSOCK) {
      throw new OpError("cannot_listen", `Cannot listen on ${path}: it is no socket`, {
        hint: "move it away, or set serve.socket",
      });
    }
  } catch (error) {
    if (isSysError(error, "ENOENT")) return;
    throw error;
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (cause) {
    // Nobody listens: left by a service that was killed. One that has no room for one
    // more connection now (EAGAIN) is alive.
    if (cause instanceof Deno.errors.ConnectionRefused) return unlinkQuietly(path);
    if (cause instanceof Deno.errors.NotFound) return;
    if (!(cause instanceof Deno.errors.WouldBlock)) {
      throw asOpError(cause, `Cannot see whether a service listens on ${path}`);
    }
  }
  throw new OpError("cannot_listen", `Cannot listen on ${path}: another service does`, {
    hint: "op-dbus status tells about it",
  });
}

function unlinkQuietly(path: string): void {
  try {
    unlinkAt(AT_FDCWD, path);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
}
