/** The open connections: bounded, and those that wait for their client give way. */
import type { Socket } from "node:net";

/** Connections over the limit are heard and refused; over so many times it, cut off. */
const SURPLUS_FACTOR = 4;

/** Which connections there are, and which of them wait for their client. */
export class Connections {
  readonly #all = new Set<Socket>();
  /** Their clients have to ask, to go on asking, or to read; the longest wait first. */
  readonly #idle = new Set<Socket>();
  /** Came when all others were at work: their first request is refused, then they end. */
  readonly #surplus = new WeakSet<Socket>();
  /** Idle connections that were ended so that another could come. */
  gaveWay = 0;

  /** @param limit may change: the next ones hear of it */
  constructor(public limit: number) {}

  get size(): number {
    return this.#all.size;
  }

  /** Takes a connection, or refuses it. @param silentMs a first byte must come by then */
  accept(socket: Socket, silentMs: number): void {
    if (this.#all.size >= SURPLUS_FACTOR * this.limit) return void socket.destroy();
    if (this.#all.size >= this.limit && !this.#makeRoom()) this.#surplus.add(socket);
    this.#all.add(socket);
    this.#idle.add(socket);
    // Headers that never end: the parser's own timer starts with the first byte only.
    const timer = setTimeout(() => {
      if (socket.bytesRead === 0) socket.destroy();
    }, silentMs);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(timer);
      this.#forget(socket);
    });
  }

  /** Ends the connection that has waited longest; false where all are at work. */
  #makeRoom(): boolean {
    const [longest] = this.#idle;
    if (!longest) return false;
    this.gaveWay++;
    this.#forget(longest);
    longest.destroy();
    return true;
  }

  #forget(socket: Socket): void {
    this.#all.delete(socket);
    this.#idle.delete(socket);
  }

  /** True for one that came when all others were at work. */
  isSurplus(socket: Socket): boolean {
    return this.#surplus.has(socket);
  }

  /** A whole request has come: it is this side's turn. */
  working(socket: Socket): void {
    this.#idle.delete(socket);
  }

  /** The answer is written: it is the client's turn. */
  answered(socket: Socket): void {
    if (this.#all.has(socket)) this.#idle.add(socket);
  }

  /** Cuts all of them off. */
  destroy(): void {
    for (const socket of this.#all) socket.destroy();
  }
}
