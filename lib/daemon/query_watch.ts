/** Cached queries are dropped when a service changes, for as long as `serve` runs. */
import { asOpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import type { Environment } from "../dbus/address.ts";
import type { Bus } from "../dbus/bus.ts";
import type { StatePlugin } from "../state/plugins.ts";
import type { Log } from "./serve.ts";

/** After a bus could not be reached or went away. */
const RETRY_FIRST_MS = 1000, RETRY_MOST_MS = 60_000;

/** Watches the services of all plugins, bus by bus. */
export class QueryWatch implements AsyncDisposable {
  #watched: BusWatch[] = [];
  #turn: Promise<void> = Promise.resolve();
  #over = false;

  constructor(
    private readonly layout: Layout,
    private readonly log: Log,
    private readonly env: Environment,
  ) {}

  /** Watches the plugins that there are now; again when they have changed. */
  restart(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#watchAll()).catch((error) => {
      this.log("warning", asOpError(error, "Cannot watch the services").message);
    });
    return this.#turn;
  }

  async #watchAll(): Promise<void> {
    await this.#stop();
    if (this.#over) return;
    const { loadPlugins } = await import("../state/plugins.ts");
    const byBus = Map.groupBy(
      loadPlugins(this.layout).plugins,
      ({ mapping }) => mapping.service.bus,
    );
    this.#watched = [...byBus].map(([where, plugins]) =>
      new BusWatch(where, plugins, this.layout, this.log, this.env)
    );
    await Promise.all(this.#watched.map((watch) => watch.start()));
  }

  async #stop(): Promise<void> {
    for (const watch of this.#watched.splice(0)) await watch[Symbol.asyncDispose]();
  }

  /** Does not wait for a bus that hangs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.#stop();
  }
}

/** Watches the services of one bus, and connects again when it went away. */
class BusWatch implements AsyncDisposable {
  readonly #stop = new AbortController();
  #bus: Bus | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #waitMs = RETRY_FIRST_MS;

  constructor(
    private readonly where: string,
    private readonly plugins: readonly StatePlugin[],
    private readonly layout: Layout,
    private readonly log: Log,
    private readonly env: Environment,
  ) {}

  async start(): Promise<void> {
    const { Bus } = await import("../dbus/bus.ts");
    const { watchQueries } = await import("../state/watch.ts");
    const { forgetQueries } = await import("../state/query_cache.ts");
    const { signal } = this.#stop;
    let over = false;
    // One attempt ends once, however many of its calls the bus takes with it.
    const end = async (why: string) => {
      if (over) return;
      over = true;
      await this.#bus?.[Symbol.asyncDispose]();
      this.#bus = null;
      this.#lost(why);
    };
    try {
      const bus = this.#bus = await Bus.connect(this.where, { env: this.env, signal });
      signal.throwIfAborted();
      // Before the first rule: a bus that dies in between must not go unnoticed.
      bus.onClosed((why) => void end(why));
      await watchQueries(this.layout, this.plugins, bus, {
        changed: (plugin) => this.log("debug", "queries dropped", { plugin }),
        failed: (plugin, error) => {
          const { message } = asOpError(error, "Cannot drop what was read of a service");
          this.log("warning", message, { plugin });
        },
      });
      // What changed while nobody watched is not known.
      for (const { name } of this.plugins) forgetQueries(this.layout, name);
      const plugins = this.plugins.length;
      const level = this.#waitMs === RETRY_FIRST_MS ? "debug" : "info";
      this.#waitMs = RETRY_FIRST_MS;
      this.log(level, "watching services", { bus: this.where, plugins });
    } catch (error) {
      await end(asOpError(error).message);
    }
  }

  #lost(why: string): void {
    if (this.#stop.signal.aborted) return;
    if (this.#waitMs === RETRY_FIRST_MS) {
      const message = "services are not watched: cached queries live until their age";
      this.log("warning", message, { bus: this.where, why });
    }
    this.#retry = setTimeout(() => void this.start(), this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, RETRY_MOST_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#retry);
    await this.#bus?.[Symbol.asyncDispose]();
  }
}
