/** The service from start to stop. */
import type { Config } from "../base/config.ts";
import { asOpError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { requireRoot } from "../base/root.ts";
import { inSlices, SHORT_SLICES } from "../base/slices.ts";
import { EmbeddingCache } from "../cache/embedding_cache.ts";
import { ChainRecorder } from "../chain/recorder.ts";
import { EmbeddingService } from "./embedding_service.ts";
import { HttpServer } from "./http_server.ts";
import { DbusOffer } from "./dbus_offer.ts";
import { jobsOf, snapshotChain } from "./jobs.ts";
import { Models, type ModelSource } from "./models.ts";
import { activatedFds, Notifier } from "./notify.ts";
import { Listeners } from "./listeners.ts";
import { Overview } from "./overview.ts";
import { pageRoutes } from "./page.ts";
import { PluginWatch } from "./plugin_watch.ts";
import { QueryWatch } from "./query_watch.ts";
import { apiRoutes } from "./routes.ts";
import { Scheduler } from "./scheduler.ts";
import {
  changedKeys,
  limitsOf,
  needRestart,
  parseListen,
  readToken,
} from "./settings.ts";
import { TIER_DEFAULTS, TierTwo } from "./tier_two.ts";
import { upstreamSource } from "./upstream_source.ts";

/** How loud a log line is, as syslog counts. */
export type Level = "error" | "warning" | "info" | "debug";
/** Takes one line and its fields. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/** What a service is made of. */
export interface ServeOptions {
  readonly layout: Layout;
  /** The models of this host, as a configuration has them. */
  readonly models: (config: Config) => ModelSource | Promise<ModelSource>;
  readonly log: Log;
  readonly env: (name: string) => string | undefined;
  /** Read again at each reload. */
  readonly config: () => Config;
}

const REPEAT_MS = 60_000;

/** A running service. */
export class Service {
  readonly #closers: (() => void | Promise<void>)[] = [];
  readonly #notifier: Notifier;
  #config: Config;
  #problem: string | null = "starting";
  readonly #dbus = new DbusOffer(this);
  #reloads: Promise<void> = Promise.resolve();

  cache!: EmbeddingCache;
  recorder!: ChainRecorder;
  service!: EmbeddingService;
  server!: HttpServer;
  listeners!: Listeners;
  scheduler!: Scheduler;
  overview!: Overview;
  plugins!: PluginWatch;
  #watch: QueryWatch | null = null;

  private constructor(readonly options: ServeOptions) {
    this.#config = options.config();
    const warn = seldom((why) => options.log("warning", why));
    this.#notifier = new Notifier(options.env, warn);
  }

  /**
   * Starts.
   * @throws {OpError} when it cannot; then nothing is left running
   */
  static async start(options: ServeOptions): Promise<Service> {
    const service = new Service(options);
    try {
      await service.#start();
      return service;
    } catch (error) {
      await service.#close();
      throw error;
    }
  }

  get config(): Config {
    return this.#config;
  }

  async #start(): Promise<void> {
    const { layout, log } = this.options;
    const kind = requireRoot(layout.root);
    const config = this.#config;
    this.cache = EmbeddingCache.open(layout.embeddings, {
      codec: config.get("cache.codec"),
      durability: config.get("cache.durability"),
      arenaBytes: config.get("cache.arena_size"),
    });
    this.#closers.push(() => this.cache.close());
    this.recorder = new ChainRecorder(layout, {
      onNotice: (notice) => log("warning", `chain: ${notice}`),
      afterRecord: async () => {
        const each = this.#config.get("chain.snapshot_every") === "operation";
        if (kind === "btrfs" && each) await snapshotChain(layout, this.#config);
      },
    });
    this.#closers.push(() => this.recorder[Symbol.dispose]());
    const source = await this.#modelSource(config);
    const models = new Models(source);
    if (!upstreamSource(config)) models.check(source.defaultName);
    this.service = new EmbeddingService(this.cache, models, await this.#openTier(config));
    this.#closers.push(() => this.service.tier?.close());
    this.#closers.push(() => this.service.models.close());
    await this.#listen(config);
    this.#schedule(config);
    this.#watchPlugins();
    this.#closers.push(() => this.#dbus[Symbol.asyncDispose]());
    await this.#dbus.move(config.get("serve.dbus"));
    this.scheduler.start(); // its first snapshots are heard on the bus
    this.#watchdog();
    this.#problem = null;
    this.#notifier.send("READY=1", "STATUS=serving");
    log("info", "ready");
    void this.#warm(config.get("serve.warm"));
    this.#watchQueries();
  }

  /** After readiness: until it watches, cached queries live until their age. */
  #watchQueries(): void {
    const { layout, log, env } = this.options;
    this.#watch = new QueryWatch(layout, log, env);
    this.#closers.push(() => this.#watch?.[Symbol.asyncDispose]());
    void this.#watch.restart();
  }

  /** Takes the last hot set into memory: after readiness, since a miss is slow, not wrong. */
  async #warm(limit: number): Promise<void> {
    const { models } = this.service;
    if (limit === 0 || upstreamSource(this.#config)) return;
    try {
      const { identity } = await models.get(models.defaultName);
      if (this.#problem !== null) return; // stopping already
      const pause = async () => {
        await SHORT_SLICES.pause();
        if (this.#problem !== null) throw new OpError("stopping", "The service stops");
      };
      const steps = this.cache.warmArena(identity, limit);
      const vectors = await inSlices(steps, { ...SHORT_SLICES, pause });
      this.options.log("debug", "warmed up", { vectors });
    } catch (error) {
      if (this.#problem !== null) return;
      this.options.log("warning", asOpError(error, "Cannot warm up").message);
    }
  }

  async #openTier(config: Config): Promise<TierTwo | null> {
    const urls = config.get("serve.redis.urls");
    if (urls.length === 0) return null;
    const { openRedis } = await import("./redis_store.ts");
    const store = await openRedis({
      urls,
      cluster: config.get("serve.redis.cluster"),
      expireS: Math.ceil(config.get("serve.redis.expire") / 1000),
      onError: seldom((message) => {
        this.options.log("warning", `second tier: ${message}`);
      }),
    });
    const timeoutMs = config.get("serve.redis.timeout");
    return new TierTwo(store, { ...TIER_DEFAULTS, timeoutMs });
  }

  async #modelSource(config: Config): Promise<ModelSource> {
    return upstreamSource(config) ?? await this.options.models(config);
  }

  async #listen(config: Config): Promise<void> {
    const { log, env } = this.options;
    const limits = limitsOf(config);
    const token = readToken(config.get("serve.token_file"));
    const routes = new Map([
      ...apiRoutes(this.service, () => this.server.limits, {
        metrics: () => this.overview.metrics(),
        notReady: () => this.#problem,
      }),
      ...pageRoutes(() => this.overview.picture()),
    ]);
    this.server = new HttpServer({
      routes,
      limits,
      metrics: this.service.metrics,
      token,
      onFailure: (error, path) => log("error", error.message, { path, code: error.code }),
    });
    this.#closers.push(() => this.server.drain(this.#config.get("serve.drain_timeout")));
    this.listeners = new Listeners(this.server, (what, fields) => {
      log("info", what, fields);
    });
    this.#closers.push(() => this.listeners[Symbol.dispose]());
    const fds = activatedFds(env);
    await this.listeners.takeOver(fds);
    const path = config.get("serve.socket");
    if (fds.length === 0 && path !== "") await this.listeners.onPath(path);
    (await this.listeners.tcp(parseListen(config.get("serve.listen"), token))).commit();
  }

  #schedule(config: Config): void {
    const { layout, log } = this.options;
    this.scheduler = new Scheduler(layout, this.#jobs(config), {
      onDone: (job, tookMs) => log("debug", "job done", { job, ms: Math.round(tookMs) }),
      onError: (job, error) => log("error", error.message, { job, code: error.code }),
    });
    this.overview = new Overview({
      layout,
      config: () => this.#config,
      cache: this.cache,
      service: this.service,
      server: this.server,
      scheduler: this.scheduler,
    });
    this.#closers.push(() => this.overview[Symbol.dispose]());
    this.#closers.push(() => this.scheduler.stop());
  }

  #jobs(config: Config) {
    const { cache, recorder, options: { layout } } = this;
    const onSnapshot = ({ target, path }: { target: string; path: string }) => {
      this.#dbus.emit("SnapshotCreated", target, path);
    };
    return jobsOf({ layout, config, cache, recorder, onSnapshot });
  }

  /** Plugins appear and disappear without a restart. */
  #watchPlugins(): void {
    const { layout, log } = this.options;
    this.plugins = new PluginWatch(layout, {
      onChange: (plugins) => {
        log("info", "plugins changed", { plugins: JSON.stringify(plugins) });
        this.#dbus.emit("PluginsChanged");
        void this.#watch?.restart();
      },
      onBlind: (why) => log("warning", `${why}; a reload looks again`),
    });
    this.#closers.push(() => this.plugins[Symbol.dispose]());
  }

  #watchdog(): void {
    const everyMs = this.#notifier.watchdogMs;
    if (everyMs === null) return;
    const timer = setInterval(() => this.#notifier.send("WATCHDOG=1"), everyMs);
    this.#closers.push(() => clearInterval(timer));
  }

  /**
   * Reads configuration, token and plugins again, one reload after the other. A
   * configuration with a mistake changes nothing; what needs a restart is named.
   */
  reload(): Promise<void> {
    return this.#reloads = this.#reloads.then(() => this.#reload());
  }

  async #reload(): Promise<void> {
    const { log } = this.options;
    if (this.#problem !== null) return; // stopping
    this.#notifier.reloading();
    try {
      await this.#apply(this.options.config());
      this.plugins.look();
      void this.#watch?.restart();
      log("info", "reloaded");
    } catch (error) {
      log("error", `Cannot reload: ${asOpError(error).message}; the old settings stay`);
    }
    this.#notifier.send("READY=1", "STATUS=serving");
  }

  async #apply(config: Config): Promise<void> {
    // Whatever can be wrong with the settings is found before the first is used.
    const token = readToken(config.get("serve.token_file")), limits = limitsOf(config);
    const listen = parseListen(config.get("serve.listen"), token);
    const source = await this.#modelSource(config), jobs = this.#jobs(config);
    const changed = changedKeys(this.#config, config);
    const touches = (...prefixes: string[]) =>
      changed.some((key) => prefixes.some((prefix) => key.startsWith(prefix)));
    if (!upstreamSource(config)) new Models(source).check(source.defaultName);
    // A new address may be taken, or a bus away: that changes nothing.
    await using undo = new AsyncDisposableStack();
    const tier = touches("serve.redis.") ? await this.#openTier(config) : undefined;
    undo.defer(() => tier?.close());
    const tcp = touches("serve.listen") ? await this.listeners.tcp(listen) : null;
    if (tcp) undo.use(tcp);
    if (touches("serve.dbus")) await this.#dbus.move(config.get("serve.dbus"));
    undo.move();
    tcp?.commit();
    this.#config = config;
    this.server.configure(limits, token);
    this.scheduler.jobs = jobs;
    this.#use(source, touches("embed.", "serve.upstream."), tier);
    const late = changed.filter(needRestart);
    if (late.length > 0) {
      const keys = late.join(",");
      this.options.log("warning", "these settings need a restart", { keys });
    }
  }

  /** Other models, another second tier: requests under way end with the old ones. */
  #use(source: ModelSource, reopen: boolean, tier: TierTwo | null | undefined): void {
    const { service } = this;
    if (reopen) {
      void service.models.close().catch((error) => {
        this.options.log("warning", asOpError(error, "Cannot close a model").message);
      });
      service.models = new Models(source);
    } else service.models.source = source;
    if (tier === undefined) return;
    void service.tier?.close();
    service.tier = tier;
  }

  /** Drains, flushes and closes. */
  async stop(): Promise<void> {
    this.#problem = "stopping";
    this.#notifier.send("STOPPING=1");
    this.options.log("info", "stopping");
    await this.#close();
    this.options.log("info", "stopped");
  }

  async #close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        this.options.log("error", asOpError(error, "Cannot close").message);
      }
    }
  }
}

/** Says the same thing at most once a minute: a lost server is asked for all the time. */
function seldom(say: (message: string) => void): (message: string) => void {
  let last = "", lastMs = -Infinity;
  return (message) => {
    const now = performance.now();
    if (message === last && now - lastMs < REPEAT_MS) return;
    last = message;
    lastMs = now;
    say(message);
  };
}
