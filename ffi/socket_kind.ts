/** What kind of socket a descriptor is. Source: socket(7), asm-generic/socket.h. */
import { check, errno, sys } from "./libc.ts";

const SOL_SOCKET = 1, SO_TYPE = 3, SO_ACCEPTCONN = 30, SO_DOMAIN = 39;
const AF_UNIX = 1, SOCK_STREAM = 1;

/**
 * True for a unix stream socket that listens.
 *
 * @throws {SysError} ENOTSOCK for what is no socket, EBADF for what is not open
 */
export function isListeningUnixStream(fd: number): boolean {
  return option(fd, SO_DOMAIN) === AF_UNIX && option(fd, SO_TYPE) === SOCK_STREAM &&
    option(fd, SO_ACCEPTCONN) !== 0;
}

function option(fd: number, name: number): number {
  const value = new Int32Array(1), length = Uint32Array.of(value.byteLength);
  check(
    sys.getsockopt(fd, SOL_SOCKET, name, value, length),
    errno[0],
    "getsockopt",
    `fd ${fd}`,
  );
  return value[0]!;
}
