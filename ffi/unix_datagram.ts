/** Datagrams to unix sockets. Source: unix(7), sendto(2). */
import { check, checkSize, cString, errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { O_CLOEXEC, withFd } from "./files.ts";

const AF_UNIX = 1, SOCK_DGRAM = 2, MSG_NOSIGNAL = 0x4000;
/** sizeof(struct sockaddr_un) less the family. */
const PATH_LIMIT_BYTES = 108;
const FAMILY_BYTES = 2;
const ENAMETOOLONG = 36;

/**
 * Sends one datagram.
 *
 * @param path absolute, or `@name` for an abstract socket
 */
export function sendDatagram(path: string, bytes: Uint8Array<ArrayBuffer>): void {
  const name = path.startsWith("@")
    ? new TextEncoder().encode("\0" + path.slice(1))
    : cString(path);
  if (name.length > PATH_LIMIT_BYTES) throw new SysError("sendto", path, ENAMETOOLONG);
  const address = new Uint8Array(FAMILY_BYTES + name.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, FAMILY_BYTES);
  withFd(
    check(sys.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0), errno[0], "socket"),
    (fd) => {
      const length = BigInt(bytes.length);
      const sent = sys.sendto(fd, bytes, length, MSG_NOSIGNAL, address, address.length);
      checkSize(sent, errno[0], "sendto", path);
    },
  );
}

const CLOCK_MONOTONIC = 1;

/** CLOCK_MONOTONIC, microseconds, as clock_gettime(2) tells it. */
export function monotonicUs(): number {
  const time = new BigInt64Array(2);
  check(sys.clock_gettime(CLOCK_MONOTONIC, time), errno[0], "clock_gettime");
  return Number(time[0]! * 1_000_000n + time[1]! / 1000n);
}
