/** The service from start to stop. */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, mkdirAt, unlinkAt } from "../../ffi/files.ts";
import { S_IFMT, S_IFSOCK, statAt } from "../../ffi/stat.ts";
import type { Config } from "../base/config.ts";
import { asOpError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { requireRoot } from "../base/root.ts";
import { EmbeddingCache } from "../cache/embedding_cache.ts";
import { ChainRecorder } from "../chain/recorder.ts";
import type { Embedder } from "../embed/embedder.ts";
import { EmbeddingService } from "./embedding_service.ts";
import { HttpServer } from "./http_server.ts";
import { jobsOf, snapshotChain } from "./jobs.ts";
import { Models, type ModelSource } from "./models.ts";
import { activatedFds, Notifier } from "./notify.ts";
import { Overview, pluginsOf } from "./overview.ts";
import { pageRoutes } from "./page.ts";
import { QueryWatch } from "./query_watch.ts";
import { apiRoutes } from "./routes.ts";
import { Scheduler } from "./scheduler.ts";
import { limitsOf, parseListen, readToken } from "./settings.ts";
import { SharedEmbedder, TIER_DEFAULTS, TierTwo } from "./tier_two.ts";
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
  readonly models: ModelSource;
  readonly log: Log;
  readonly env: (name: string) => string | undefined;
  /** Read again at each reload. */
  readonly config: () => Config;
}

const SOCKET_MODE = 0o660;
/** Changes under the root come in bursts: one look for all of them. */
const PLUGIN_SETTLE_MS = 200;
const REPEAT_MS = 60_000;

/** A running service. */
export class Service {
  readonly #closers: (() => void | Promise<void>)[] = [];
  readonly #notifier: Notifier;
  #config: Config;
  #plugins = "";
  #problem: string | null = "starting";

  cache!: EmbeddingCache;
  recorder!: ChainRecorder;
  service!: EmbeddingService;
  server!: HttpServer;
  scheduler!: Scheduler;
  overview!: Overview;
  tier: TierTwo | null = null;
  #watch: QueryWatch | null = null;

  private constructor(readonly options: ServeOptions) {
    this.#config = options.config();
    this.#notifier = new Notifier(options.env);
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
    const each = kind === "btrfs" && config.get("chain.snapshot_every") === "operation";
    this.recorder = new ChainRecorder(layout, {
      onNotice: (notice) => log("warning", `chain: ${notice}`),
      ...(each && { afterRecord: () => snapshotChain(layout, config) }),
    });
    this.#closers.push(() => this.recorder[Symbol.dispose]());
    await this.#openTier(config);
    const models = new Models(this.#modelSource(config));
    this.#closers.push(() => models[Symbol.dispose]());
    this.service = new EmbeddingService(this.cache, models);
    await this.#listen(config);
    this.#schedule(config);
    this.#watchPlugins();
    await this.#offerDbus(config);
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
      const vectors = this.cache.warmArena(identity, limit);
      this.options.log("debug", "warmed up", { vectors });
    } catch (error) {
      this.options.log("warning", asOpError(error, "Cannot warm up").message);
    }
  }

  async #openTier(config: Config): Promise<void> {
    const urls = config.get("serve.redis.urls");
    if (urls.length === 0) return;
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
    this.tier = new TierTwo(store, { ...TIER_DEFAULTS, timeoutMs });
    this.#closers.push(() => this.tier?.close());
  }

  #modelSource(config: Config): ModelSource {
    const source = upstreamSource(config) ?? this.options.models;
    const { tier } = this;
    if (!tier) return source;
    return {
      defaultName: source.defaultName,
      names: () => source.names(),
      open: async (name): Promise<Embedder> =>
        new SharedEmbedder(await source.open(name), tier),
    };
  }

  async #listen(config: Config): Promise<void> {
    const { log, env } = this.options;
    const limits = limitsOf(config);
    const token = readToken(config.get("serve.token_file"));
    const routes = new Map([
      ...apiRoutes(this.service, limits, {
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
    this.#closers.push(() => this.server.drain(config.get("serve.drain_timeout")));
    const fds = activatedFds(env);
    for (const fd of fds) await this.server.listen({ fd });
    const path = config.get("serve.socket");
    if (fds.length === 0 && path !== "") await this.#listenOnPath(path);
    const tcp = parseListen(config.get("serve.listen"), token);
    if (tcp && "port" in tcp) {
      const port = await this.server.listen(tcp);
      log("info", "listening", { host: tcp.host, port: port ?? tcp.port });
    }
    if (fds.length > 0) log("info", "took over sockets", { count: fds.length });
  }

  async #listenOnPath(path: string): Promise<void> {
    const folder = path.slice(0, path.lastIndexOf("/"));
    try {
      mkdirAt(AT_FDCWD, folder, 0o755);
    } catch (error) {
      if (!isSysError(error, "EEXIST")) {
        throw asOpError(error, `Cannot make the folder of the socket`);
      }
    }
    await removeStale(path);
    await this.server.listen({ path });
    await Deno.chmod(path, SOCKET_MODE);
    this.#closers.push(() => unlinkQuietly(path));
    this.options.log("info", "listening", { socket: path });
  }

  #schedule(config: Config): void {
    const { layout, log } = this.options;
    this.scheduler = new Scheduler(layout, this.#jobs(config), {
      onDone: (job, tookMs) => log("debug", "job done", { job, ms: Math.round(tookMs) }),
      onError: (job, error) => log("error", error.message, { job, code: error.code }),
    });
    this.overview = new Overview({
      layout,
      config,
      cache: this.cache,
      service: this.service,
      server: this.server,
      scheduler: this.scheduler,
      tier: this.tier,
    });
    this.#closers.push(() => this.overview[Symbol.dispose]());
    this.#closers.push(() => this.scheduler.stop());
    this.scheduler.start();
  }

  #jobs(config: Config) {
    const { layout } = this.options;
    return jobsOf({ layout, config, cache: this.cache, recorder: this.recorder });
  }

  /** Plugins appear and disappear without a restart. */
  #watchPlugins(): void {
    const { layout, log } = this.options;
    this.#plugins = JSON.stringify(pluginsOf(layout));
    const watcher = Deno.watchFs(layout.root, { recursive: false });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      const now = JSON.stringify(pluginsOf(layout));
      if (now === this.#plugins) return;
      this.#plugins = now;
      log("info", "plugins changed", { plugins: now });
      this.onPlugins?.();
      void this.#watch?.restart();
    };
    void (async () => {
      for await (const _event of watcher) {
        clearTimeout(timer);
        timer = setTimeout(look, PLUGIN_SETTLE_MS);
      }
    })();
    this.#closers.push(() => {
      clearTimeout(timer);
      watcher.close();
    });
  }

  /** Hears that plugins appeared, changed or went. */
  onPlugins: (() => void) | undefined;

  async #offerDbus(config: Config): Promise<void> {
    const where = config.get("serve.dbus");
    if (where === "off") return;
    const { DbusService } = await import("./dbus_service.ts");
    const offered = await DbusService.offer(where, this);
    this.#closers.push(() => offered[Symbol.asyncDispose]());
    this.options.log("info", "offering org.opdbus1", { bus: where });
  }

  #watchdog(): void {
    const everyMs = this.#notifier.watchdogMs;
    if (everyMs === null) return;
    const timer = setInterval(() => this.#notifier.send("WATCHDOG=1"), everyMs);
    this.#closers.push(() => clearInterval(timer));
  }

  /** Reads configuration and plugins again. What needs a restart says so. */
  reload(): void {
    const { log } = this.options;
    this.#notifier.reloading();
    try {
      const before = this.#config;
      this.#config = this.options.config();
      this.scheduler.jobs = this.#jobs(this.#config);
      const fixed = changedKeys(before, this.#config);
      if (fixed.length > 0) {
        log("warning", "a restart is needed for some settings", {
          keys: fixed.join(","),
        });
      }
      this.onPlugins?.();
      void this.#watch?.restart();
      log("info", "reloaded");
    } catch (error) {
      log("error", `Cannot reload: ${asOpError(error).message}; the old settings stay`);
    }
    this.#notifier.send("READY=1", "STATUS=serving");
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

/** Settings that are read at the start only. */
const FIXED = [
  "cache.",
  "embed.",
  "serve.socket",
  "serve.listen",
  "serve.redis.",
  "serve.up",
];

function changedKeys(before: Config, after: Config): string[] {
  const old = new Map(before.entries().map(({ name, shown }) => [String(name), shown]));
  return after.entries()
    .filter(({ name, shown }) => old.get(String(name)) !== shown)
    .map(({ name }) => String(name))
    .filter((name) => FIXED.some((prefix) => name.startsWith(prefix)));
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
  } catch {
    return unlinkQuietly(path); // nobody answers: left by a service that was killed
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
