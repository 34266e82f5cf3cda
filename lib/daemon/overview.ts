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
import { gaugeText } from "./metrics.ts";
import type { Scheduler } from "./scheduler.ts";

/** One sample of the history: counts since the sample before. */
export interface Sample {
  readonly time: number;
  readonly memory: number;
  readonly disk: number;
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
  #before = { memory: 0, disk: 0, model: 0 };
  readonly #timer: ReturnType<typeof setInterval>;
  #fresh: { atMs: number; value: unknown } | null = null;

  constructor(readonly parts: OverviewParts) {
    this.#timer = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
  }

  #counts() {
    const { texts } = this.parts.service.metrics;
    const of = (layer: string) => texts.get({ layer });
    return { memory: of("memory"), disk: of("disk"), model: of("model") };
  }

  #sample(): void {
    const now = this.#counts(), { memory, disk, model } = this.#before;
    this.#before = now;
    this.#samples.push({
      time: Date.now(),
      memory: now.memory - memory,
      disk: now.disk - disk,
      model: now.model - model,
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
    const { layout, cache, service, server, scheduler } = this.parts;
    const { tier } = service;
    const stats = cache.stats();
    const { layers } = service.metrics;
    return {
      version: VERSION,
      root: layout.root,
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
        counts: this.#counts(),
        shared: service.metrics.shared.get(),
        compute_seconds: service.metrics.computeSeconds.get(),
      },
      history: this.#samples,
      latency: layers.labels.map((layer) => ({
        layer,
        p50: layers.quantile(0.5, layer),
        p99: layers.quantile(0.99, layer),
      })),
      numa: await numaPicture(),
      snapshots: await snapshotsOf(this.parts),
      plugins: pluginsOf(layout),
      chain: chainOf(layout),
      jobs: scheduler.states(),
      leader: scheduler.leading,
      second_tier: tier && { ...tier.counts, usable: tier.breaker.closed },
    };
  }

  /** Gauges for `/metrics`. */
  async metrics(): Promise<string> {
    const { layout, cache, server, scheduler, service: { tier } } = this.parts;
    const stats = cache.stats();
    const one = (value: number) => [[{}, value] as const];
    const size = chainOf(layout).size;
    const plugins = pluginsOf(layout).length;
    const texts = [
      gaugeText("opdbus_cache_entries", "Vectors on disk", one(stats.entries)),
      gaugeText("opdbus_cache_bytes", "Bytes of vectors on disk", one(stats.vectorBytes)),
      gaugeText(
        "opdbus_cache_loose_files",
        "Vectors in files of their own",
        one(stats.looseFiles),
      ),
      gaugeText(
        "opdbus_pack_bytes",
        "Bytes of compacted vectors",
        one(stats.packs.reduce((sum, { bytes }) => sum + bytes, 0)),
      ),
      gaugeText(
        "opdbus_pack_resident_bytes",
        "Of those, in memory (page cache)",
        one(stats.packs.reduce((sum, { residentBytes }) => sum + residentBytes, 0)),
      ),
      gaugeText(
        "opdbus_filesystem_available_bytes",
        "Free space under the root",
        one(stats.fileSystem.availableBytes),
      ),
      gaugeText("opdbus_requests_active", "Requests being answered", one(server.active)),
      gaugeText(
        "opdbus_requests_queued",
        "Requests that wait",
        one(server.turnstile.queued),
      ),
      gaugeText("opdbus_plugins", "Plugins under the root", one(plugins)),
      gaugeText("opdbus_chain_height", "Blocks of the audit chain", one(size)),
      gaugeText(
        "opdbus_leader",
        "1 where this service runs the schedule",
        one(scheduler.leading ? 1 : 0),
      ),
      gaugeText(
        "opdbus_job_last_run_timestamp_seconds",
        "When a job last ran",
        scheduler.states().filter(({ lastMs }) => lastMs !== null)
          .map(({ name, lastMs }) => [{ job: name }, lastMs! / 1000] as const),
      ),
    ];
    texts.push(await this.#placeMetrics());
    if (tier) {
      const counts = Object.entries(tier.counts).map(([what, n]) =>
        [{ what }, n] as const
      );
      texts.push(
        gaugeText("opdbus_second_tier", "Vectors by what the second tier did", counts),
      );
    }
    return texts.join("");
  }

  /** Where this process's memory lies, and what snapshots there are. */
  async #placeMetrics(): Promise<string> {
    const nodes = await numaPicture();
    const counts = new Map<string, number>();
    for (const { target } of await snapshotsOf(this.parts)) {
      counts.set(target, (counts.get(target) ?? 0) + 1);
    }
    return gaugeText(
      "opdbus_node_pages",
      "Pages of this process by NUMA node",
      nodes.map(({ node, own_pages }) => [{ node: String(node) }, own_pages] as const),
    ) + gaugeText(
      "opdbus_snapshots",
      "Snapshots by target (the newest 50 of each are counted)",
      [...counts].map(([target, count]) => [{ target }, count] as const),
    );
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
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
  return [...names].flatMap((name) =>
    listFound(findTarget(layout, config(), name)).slice(-SNAPSHOTS_SHOWN)
      .map((found) => ({ target: name, name: found.name, time: found.timeMs }))
  );
}

/** Nodes, their CPUs and memory, from the kernel. */
async function numaPicture() {
  const { listFolder, readTextFile } = await import("../../ffi/directory.ts");
  const base = "/sys/devices/system/node";
  const read = (path: string) => {
    try {
      return readTextFile(path).trim();
    } catch {
      return ""; // a kernel without NUMA has no such file
    }
  };
  let names: string[];
  try {
    names = listFolder(base).map(({ name }) => new TextDecoder().decode(name));
  } catch {
    return []; // the same
  }
  const mine = pagesByNode(read("/proc/self/numa_maps"));
  return names.filter((name) => /^node\d+$/.test(name)).sort().map((name) => {
    const memory = read(`${base}/${name}/meminfo`);
    const kb = (key: string) =>
      Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(memory)?.[1] ?? 0);
    const node = Number(name.slice(4));
    return {
      node,
      cpus: read(`${base}/${name}/cpulist`),
      total_bytes: kb("MemTotal") * 1024,
      free_bytes: kb("MemFree") * 1024,
      file_bytes: kb("FilePages") * 1024,
      own_pages: mine.get(node) ?? 0,
    };
  });
}

/** This process's pages on each node, from `numa_maps`. */
function pagesByNode(text: string): Map<number, number> {
  const pages = new Map<number, number>();
  for (const [, node, count] of text.matchAll(/ N(\d+)=(\d+)/g)) {
    pages.set(Number(node), (pages.get(Number(node)) ?? 0) + Number(count));
  }
  return pages;
}
