/** `org.opdbus1` on the bus that the configuration names, for as long as it names it. */
import { asOpError } from "../base/errors.ts";
import type { DbusService } from "./dbus_service.ts";
import type { Service } from "./serve.ts";

/** How long to wait before the bus is tried again. */
const BUS_RETRY_MS = 5_000;
const OFF = "off";

/** Offers the service, moves it to another bus, and comes back when its bus does. */
export class DbusOffer implements AsyncDisposable {
  #where = OFF;
  #offered: DbusService | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Moves and retries, one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #over = false;

  constructor(private readonly service: Service) {}

  /** Sends a signal; none where nothing is offered. */
  emit(...signal: Parameters<DbusService["emit"]>): void {
    this.#offered?.emit(...signal);
  }

  /**
   * Offers it on a bus, on another one than before, or no longer.
   * @param where `off`, `system` or `session`
   * @throws {OpError} as {@link DbusService.offer}; then the offer before goes on
   */
  move(where: string): Promise<void> {
    const moved = this.#turn.then(() => this.#move(where));
    this.#turn = moved.catch(() => {}); // told to the caller
    return moved;
  }

  async #move(where: string): Promise<void> {
    const before = this.#offered;
    const offered = where === OFF ? null : await this.#offer(where);
    clearTimeout(this.#retry);
    this.#where = where;
    this.#offered = offered;
    await before?.[Symbol.asyncDispose]();
  }

  async #offer(where: string): Promise<DbusService> {
    const { DbusService } = await import("./dbus_service.ts");
    const { service } = this;
    const offered = await DbusService.offer(where, service);
    offered.bus.onClosed((why) => {
      service.options.log("warning", "the bus went away", { bus: this.#where, why });
      this.#again(why);
    });
    service.options.log("info", "offering org.opdbus1", { bus: where });
    return offered;
  }

  /** HTTP goes on, and the bus is tried until it is back. */
  #again(known: string): void {
    const back = async () => {
      if (this.#over || this.#offered?.bus.closedBecause === null) return;
      try {
        this.#offered = await this.#offer(this.#where);
      } catch (error) {
        const { message } = asOpError(error);
        if (message !== known) this.service.options.log("warning", message);
        this.#again(message);
      }
    };
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#turn = this.#turn.then(back), BUS_RETRY_MS);
    Deno.unrefTimer(this.#retry); // a service that stops does not wait for it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    clearTimeout(this.#retry);
    await this.#offered?.[Symbol.asyncDispose]();
  }
}
