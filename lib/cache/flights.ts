/** Single flight: a text that is being computed is not computed a second time. */

/** One key under way. The promise is only made when somebody waits. */
export class Flight {
  #waiters: PromiseWithResolvers<void> | undefined;
  #landed = false;

  /** Resolves when the key is stored or its computation failed; then look again. */
  landed(): Promise<void> {
    if (this.#landed) return Promise.resolve();
    return (this.#waiters ??= Promise.withResolvers<void>()).promise;
  }

  /** Tells the waiters. */
  land(): void {
    this.#landed = true;
    this.#waiters?.resolve();
  }
}

/** The keys under way in this process. */
export class Flights {
  readonly #flights = new Map<string, Flight>();

  /** The flight of a key that another call computes. */
  of(key: string): Flight | undefined {
    return this.#flights.get(key);
  }

  /** Takes a key on. */
  start(key: string): void {
    this.#flights.set(key, new Flight());
  }

  /** Ends a key's flight, however it went. Ending it twice does nothing. */
  end(key: string): void {
    const flight = this.#flights.get(key);
    if (!flight) return;
    this.#flights.delete(key);
    flight.land();
  }

  get size(): number {
    return this.#flights.size;
  }
}
