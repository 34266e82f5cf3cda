/**
 * Every key of the config, in one table: a room adds its rows here and reads them with
 * `config.get("room.key")`, typed. The environment variable of `cache.arena_size` is
 * `OPDBUS_CACHE_ARENA_SIZE`; that of the flag-like `root` is `OPDBUS_ROOT`.
 */
import { duration, flag, integer, list, path, size, text } from "./config_kinds.ts";
import { DEFAULT_ROOT } from "./layout.ts";

export const CODECS = ["f32", "f32-zstd", "f16", "int12", "int8"] as const;

/** Keys that stand alone. Each has a default. */
export const CONFIG_KEYS = {
  "root": path(DEFAULT_ROOT, "the folder that everything lives under"),

  "embed.model": text("builtin", "the model that embeds when --model is not given"),
  "embed.device": text("auto", "where ONNX models run", [
    "auto",
    "cpu",
    "cuda",
    "tensorrt",
    "webgpu",
    "wasm",
  ]),
  "embed.onnxruntime": path("", "libonnxruntime.so to load instead of the built-in one"),
  "embed.batch_size": integer(16, "texts per run of an ONNX model at most", 1, 4096),
  "embed.threads": integer(0, "CPU threads for ONNX models; 0: one per CPU", 0, 1024),

  "models.hub": text("https://huggingface.co", "where model pull fetches from"),
  "models.hub_hosts": list(
    ["*.huggingface.co", "*.hf.co"],
    "other hosts that the hub may redirect to",
  ),
  "models.max_size": size("8G", "model pull refuses larger models"),

  "cache.codec": text("int12", "how vectors are stored", CODECS),
  "cache.durability": text("full", "full: safe on disk before a call answers", [
    "full",
    "relaxed",
  ]),
  "cache.arena_size": size(
    "256M",
    "memory for decoded vectors, and at most as much for their texts; 0 for none",
  ),
  "cache.compact_threshold": integer(10_000, "loose files that start a compaction"),

  "placement.strategy": text(
    "local",
    "node for hot vectors: local, most-memory, round-robin, interleave, node:N, off",
  ),
  "placement.policy": text("auto", "how strictly memory stays there; auto: bind", [
    "auto",
    "bind",
    "preferred",
    "interleave",
    "default",
  ]),
  "placement.pin_threads": flag(true, "keep threads on CPUs that share a cache there"),

  "snapshot.policy": text("default", "the policy of targets that name none"),
  "snapshot.ssh_config": path("", "ssh_config file for replicas over ssh"),
  "chain.snapshot_every": text(
    "1h",
    "snapshots of the chain: off, operation (after each change), or a duration",
  ),
  "chain.keep_hourly": integer(5, "chain snapshots: newest of each of N hours"),
  "chain.keep_daily": integer(5, "chain snapshots: newest of each of N days"),
  "chain.keep_weekly": integer(5, "chain snapshots: newest of each of N weeks"),
  "chain.keep_quarterly": integer(5, "chain snapshots: newest of each of N quarters"),

  "serve.socket": path("/run/op-dbus/op-dbus.sock", "unix socket; empty for none"),
  "serve.listen": text("", "TCP address such as 127.0.0.1:8080; empty for none"),
  "serve.token_file": path("", "file with the token that clients must send"),
  "serve.max_body": size("8M", "longest request"),
  "serve.max_batch": integer(2048, "texts of one request at most", 1, 100_000),
  "serve.concurrency": integer(64, "requests that are worked on at once", 1, 10_000),
  "serve.queue": integer(1024, "requests that may wait; more get 503", 0, 100_000),
  "serve.rate": integer(0, "requests per second; more get 429; 0 for no limit"),
  "serve.connections": integer(1024, "open connections at most", 1, 100_000),
  "serve.memory": size("128M", "request bodies held at once, and as much of answers"),
  "serve.request_timeout": duration("60s", "a request must be answered by then"),
  "serve.drain_timeout": duration("10s", "how long requests may end after SIGTERM"),
  "serve.warm": integer(
    10_000,
    "vectors taken into memory after the start",
    0,
    1_000_000,
  ),
  "serve.snapshot_every": duration("1h", "rotation of snapshots; 0 for none"),
  "serve.dbus": text("off", "offer org.opdbus1 on this bus", [
    "off",
    "system",
    "session",
  ]),
  "serve.upstream.url": text("", "OpenAI-compatible endpoint that computes instead"),
  "serve.upstream.model": text("", "the model there"),
  "serve.upstream.dimensions": integer(0, "its dimensions", 0, 16_384),
  "serve.upstream.revision": text("", "changed when the model changes: a new cache"),
  "serve.upstream.token_file": path("", "file with the token for it"),
  "serve.redis.urls": list([], "second tier: redis://host:port, several for a cluster"),
  "serve.redis.cluster": flag(false, "the second tier is a cluster"),
  "serve.redis.timeout": duration("50ms", "a lookup there that takes longer is a miss"),
  "serve.redis.expire": duration(
    "0",
    "what was written there so long ago goes; 0 for never",
  ),

  "snapshot.default_targets": list(["cache"], "targets of rotate when none is named"),

  "update.url": text("", "where `self update` finds releases; empty: the built-in place"),
  "update.key": text("", "minisign key that signs releases; empty: the built-in key"),
} as const;

/** The rules of a retention policy; 0 or empty means the rule is not used. */
const POLICY_FIELDS = {
  keep_last: integer(0, "keep the newest N"),
  keep_hourly: integer(0, "keep the newest of each of N hours"),
  keep_daily: integer(0, "keep the newest of each of N days"),
  keep_weekly: integer(0, "keep the newest of each of N weeks"),
  keep_monthly: integer(0, "keep the newest of each of N months"),
  keep_quarterly: integer(0, "keep the newest of each of N quarters"),
  keep_yearly: integer(0, "keep the newest of each of N years"),
  keep_within: duration("0", "keep everything this young"),
  keep_within_hourly: duration("0", "keep one per hour this far back"),
  keep_within_daily: duration("0", "keep one per day this far back"),
  keep_within_weekly: duration("0", "keep one per week this far back"),
  keep_within_monthly: duration("0", "keep one per month this far back"),
  keep_within_quarterly: duration("0", "keep one per quarter this far back"),
  keep_within_yearly: duration("0", "keep one per year this far back"),
  min_age: duration("0", "never delete anything younger"),
  keep_min: integer(1, "never fewer than this, whatever the rest says", 1),
  free_space_min: size("0", "prune further, down to keep_min, below this much free"),
} as const;

/** Tables whose entries the user names: `[snapshot.targets.home]`. */
export const CONFIG_TABLES = {
  "snapshot.targets": {
    path: path("", "the subvolume to snapshot"),
    folder: path("", "where its snapshots go; default @NAME-snapshots under the root"),
    policy: text("", "name of its policy"),
    allow_nested: flag(false, "snapshot it although it holds nested subvolumes"),
  },
  "snapshot.policies": POLICY_FIELDS,
  "snapshot.replicas": {
    to: text("", "where to: a folder on another btrfs, or ssh://user@host/path"),
    targets: list([], "what to send there; default snapshot.default_targets"),
    policy: text("", "name of the policy that prunes there; empty: nothing is pruned"),
    command: text("", "the command there, when it is not op-dbus or btrfs"),
    limit: size("0", "bytes per second; 0: as fast as it goes"),
    verify: flag(true, "compare the contents after sending"),
  },
} as const;
