/**
 * Talking to systemd: readiness, watchdog, sockets that it opened.
 *
 * Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
 */
import { asOpError } from "../base/errors.ts";
import { monotonicUs, sendDatagram } from "../../ffi/unix_datagram.ts";

type Environment = (name: string) => string | undefined;

const FIRST_FD = 3;
/** Sockets that are taken over at most. */
const FDS_LIMIT = 16;

/** Says something to the service manager; does nothing where there is none. */
export class Notifier {
  readonly #socket: string | undefined;

  /** @param onFailure hears why the manager could not be told; the service goes on */
  constructor(readonly env: Environment, readonly onFailure: (why: string) => void) {
    this.#socket = env("NOTIFY_SOCKET");
  }

  send(...lines: string[]): void {
    if (!this.#socket) return;
    try {
      sendDatagram(this.#socket, new TextEncoder().encode(lines.join("\n") + "\n"));
    } catch (error) {
      this.onFailure(asOpError(error, `Cannot tell systemd ${lines[0]}`).message);
    }
  }

  /** A reload begins; READY ends it. */
  reloading(): void {
    this.send("RELOADING=1", `MONOTONIC_USEC=${monotonicUs()}`);
  }

  /** Half the watchdog's time, in ms; null where there is no watchdog. */
  get watchdogMs(): number | null {
    const usec = Number(this.env("WATCHDOG_USEC"));
    const pid = this.env("WATCHDOG_PID");
    const mine = pid === undefined || pid === String(Deno.pid);
    return mine && Number.isFinite(usec) && usec > 0 ? usec / 2000 : null;
  }
}

/** The sockets that systemd opened for this process. */
export function activatedFds(env: Environment): number[] {
  if (env("LISTEN_PID") !== String(Deno.pid)) return [];
  const count = Number(env("LISTEN_FDS"));
  if (!Number.isInteger(count) || count < 1 || count > FDS_LIMIT) return [];
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}
