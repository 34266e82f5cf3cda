/** What the page and `op-dbus status` show: one picture of the service, as JSON. */
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Config } from "../base/config.ts";
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { rootKind } from "../base/root.ts";
import { VERSION } from "../base/version.ts";
import { ChainReader } from "../chain/reader.ts";
import { discover } from "../plugin/discovery.ts";
import type { EmbeddingService } from "./embedding_service.ts";
import type { HttpServer } from "./http_server.ts";
import { counterText, gaugeText } from "./metrics.ts";
import { type NodePicture, numaPicture } from "./numa_picture.ts";
import type { Scheduler } from "./scheduler.ts";

/** One sample of the history: counts since the sample before. */
export interface Sample {
  readonly time: number;
  readonly memory: number;
  readonly disk: number;
  /** Had by the second tier. */
  readonly shared: number;
  readonly model: number;
}

const SAMPLE_EVERY_MS = 10_000;
/** Samples that are kept: two hours. */
const SAMPLES_LIMIT = 720;
const BLOCKS_SHOWN = 10, SNAPSHOTS_SHOWN = 50;
/** Pictures are shared for so long: they cost file reads. */
const FRESH_MS = 2_000;

/** What the overview looks at. */
export interface OverviewParts {
  readonly layout: Layout;
  readonly config: () => Config;
  readonly cache: EmbeddingCache;
  readonly service: EmbeddingService;
  readonly server: HttpServer;
  readonly scheduler: Scheduler;
}

/** Collects the picture. */
export class Overview implements Disposable {
  readonly #started = Date.now();
  readonly #samples: Sample[] = [];
  #before = { memory: 0, disk: 0, shared: 0, model: 0 };
  readonly #timer: ReturnType<typeof setInterval>;
  #fresh: { atMs: number; value: unknown } | null = null;

  constructor(readonly parts: OverviewParts) {
    this.#timer = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
  }

  #counts() {
    const { texts } = this.parts.service.metrics;
    const of = (layer: string) => texts.get({ layer });
    return {
      memory: of("memory"),
      disk: of("disk"),
      shared: of("shared"),
      model: of("model"),
    };
  }

  #sample(): void {
    const now = this.#counts(), before = this.#before;
    this.#before = now;
    this.#samples.push({
      time: Date.now(),
      memory: now.memory - before.memory,
      disk: now.disk - before.disk,
      shared: now.shared - before.shared,
      model: now.model - before.model,
    });
    if (this.#samples.length > SAMPLES_LIMIT) this.#samples.shift();
  }

  /** The picture, at most two seconds old. */
  async picture(): Promise<unknown> {
    if (this.#fresh && Date.now() - this.#fresh.atMs < FRESH_MS) return this.#fresh.value;
    const value = await this.#look();
    this.#fresh = { atMs: Date.now(), value };
    return value;
  }

  async #look() {
    const { layout, config, cache, service, server, scheduler } = this.parts;
    const { tier } = service;
    const stats = cache.live();
    const { layers } = service.metrics;
    return {
      version: VERSION,
      root: layout.root,
      socket: config().get("serve.socket"),
      memory_bytes: Deno.memoryUsage().rss,
      pid: Deno.pid,
      started: this.#started,
      now: Date.now(),
      models: service.models.names(),
      default_model: service.models.defaultName,
      requests: { active: server.active, queued: server.turnstile.queued },
      cache: {
        entries: stats.entries,
        vector_bytes: stats.vectorBytes,
        loose_files: stats.looseFiles,
        packs: packBytes(stats.packs),
        counts: this.#counts(),
        shared: service.metrics.shared.get(),
        compute_seconds: service.metrics.computeSeconds.get(),
      },
      history: this.#samples,
      latency: layers.labels.map((layer) => ({
        layer,
        p50: layers.quantile(0.5, layer),
        p99: layers.quantile(0.99, layer),
        count: layers.count(layer),
      })),
      numa: numaPicture(),
      snapshots_possible: rootKind(layout.root) === "btrfs",
      snapshots: (await snapshotsOf(this.parts)).flatMap(({ target, found }) =>
        found.slice(-SNAPSHOTS_SHOWN)
          .map(({ name, timeMs }) => ({ target, name, time: timeMs }))
      ),
      plugins: pluginsOf(layout),
      chain: chainOf(layout),
      jobs: scheduler.states(),
      leader: scheduler.leading,
      second_tier: tier && { ...tier.counts, usable: tier.breaker.closed },
    };
  }

  /** What `/metrics` shows beside the service's own counts. */
  async metrics(): Promise<string> {
    return this.#cacheMetrics() + this.#loadMetrics() + this.#hostMetrics() +
      await this.#placeMetrics();
  }

  #cacheMetrics(): string {
    const stats = this.parts.cache.live(), packs = packBytes(stats.packs);
    const ratio = packs.bytes === 0 ? null : packs.resident_bytes / packs.bytes;
    return gauges([
      ["opdbus_cache_entries", "Vectors on disk", stats.entries],
      ["opdbus_cache_bytes", "Bytes of vectors on disk", stats.vectorBytes],
      ["opdbus_cache_loose_files", "Vectors in files of their own", stats.looseFiles],
      ["opdbus_pack_bytes", "Bytes of compacted vectors", packs.bytes],
      [
        "opdbus_pack_resident_bytes",
        "Of those, in memory (page cache)",
        packs.resident_bytes,
      ],
      ["opdbus_pack_resident_ratio", "Share of compacted vectors in memory", ratio],
      [
        "opdbus_filesystem_available_bytes",
        "Free space under the root",
        stats.availableBytes,
      ],
    ]);
  }

  #loadMetrics(): string {
    const { server, service: { tier } } = this.parts;
    const counts = Object.entries(tier?.counts ?? {});
    return gauges([
      ["opdbus_requests_active", "Requests being answered", server.active],
      ["opdbus_requests_queued", "Requests that wait", server.turnstile.queued],
      ["opdbus_body_bytes", "Request bodies held", server.bodyBytes],
      ["opdbus_unsent_bytes", "Answers not taken yet", server.unsent.heldBytes],
      [
        "opdbus_resident_memory_bytes",
        "Memory of this process",
        Deno.memoryUsage().rss,
      ],
    ]) + counterText(
      "opdbus_second_tier_total",
      "What the second tier did",
      counts.map(([what, n]) => [{ what }, n] as const),
    );
  }

  #hostMetrics(): string {
    const { layout, scheduler } = this.parts;
    return gauges([
      ["opdbus_plugins", "Plugins under the root", pluginsOf(layout).length],
      ["opdbus_chain_height", "Blocks of the audit chain", chainOf(layout).size],
      ["opdbus_leader", "1 where this service runs the schedule", +scheduler.leading],
    ]) + gaugeText(
      "opdbus_job_last_run_timestamp_seconds",
      "When a job last ran",
      scheduler.states().filter(({ lastMs }) => lastMs !== null)
        .map(({ name, lastMs }) => [{ job: name }, lastMs! / 1000] as const),
    );
  }

  /** Where this process's memory lies, and what snapshots there are. */
  async #placeMetrics(): Promise<string> {
    const nodes = numaPicture();
    const byNode = (pick: (node: NodePicture) => number) =>
      nodes.map((node) => [{ node: String(node.node) }, pick(node)] as const);
    return [
      gaugeText(
        "opdbus_node_pages",
        "Pages of this process by NUMA node",
        byNode(({ own_pages }) => own_pages),
      ),
      gaugeText(
        "opdbus_node_vector_bytes",
        "Compacted vectors mapped from each NUMA node's memory",
        byNode(({ vector_bytes }) => vector_bytes),
      ),
      gaugeText(
        "opdbus_snapshots",
        "Snapshots by target",
        (await snapshotsOf(this.parts))
          .map(({ target, found }) => [{ target }, found.length] as const),
      ),
    ].join("");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Gauges of one value each; null leaves one out. */
function gauges(list: readonly (readonly [string, string, number | null])[]): string {
  return list.map(([name, help, value]) =>
    gaugeText(name, help, value === null ? [] : [[{}, value]])
  ).join("");
}

/** What packs take, and how much of it is in memory. */
function packBytes(packs: readonly { bytes: number; residentBytes: number }[]) {
  return {
    bytes: packs.reduce((sum, { bytes }) => sum + bytes, 0),
    resident_bytes: packs.reduce((sum, { residentBytes }) => sum + residentBytes, 0),
  };
}

/** The last blocks; an unreadable chain says why. */
export function chainOf(layout: Layout) {
  try {
    using reader = new ChainReader(layout.timing);
    const first = Math.max(0, reader.size - BLOCKS_SHOWN);
    const blocks = [];
    for (let number = reader.size - 1; number >= first; number--) {
      const { header, hash } = reader.read(number);
      const { time, category, action, what, who } = header;
      blocks.push({ number, hash, time, category, action, what, who });
    }
    return { size: reader.size, blocks, problem: null };
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    return { size: 0, blocks: [], problem: error.message };
  }
}

/** Plugins with their versions; broken ones with their reason. */
export function pluginsOf(layout: Layout, found = discover(layout)) {
  return found.map((plugin) =>
    plugin.manifest === null
      ? { name: plugin.name, version: null, problem: plugin.reason }
      : { name: plugin.name, version: plugin.manifest.version, problem: null }
  );
}

async function snapshotsOf({ layout, config }: OverviewParts) {
  if (rootKind(layout.root) !== "btrfs") return [];
  const { findTarget } = await import("../snapshot/target.ts");
  const { listFound } = await import("../snapshot/found.ts");
  const names = new Set([...config().get("snapshot.default_targets"), "cache", "timing"]);
  return [...names].map((target) => {
    try {
      return { target, found: listFound(findTarget(layout, config(), target)) };
    } catch (error) {
      // A target that cannot be found or read: its job has the error, the rest is shown.
      if (!(error instanceof OpError)) throw error;
      return { target, found: [] };
    }
  });
}
