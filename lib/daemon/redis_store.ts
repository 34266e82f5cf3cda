/** Valkey or Redis as the shared store, through the client of npm `redis`. */
import { Buffer } from "node:buffer";
import type { SharedStore } from "./tier_two.ts";

/** How to reach it. */
export interface RedisOptions {
  /** One for a single server, several for the nodes of a cluster: `redis://host:6379`. */
  readonly urls: readonly string[];
  readonly cluster: boolean;
  /** The engine drops a vector so long after it was written; 0 for never. */
  readonly expireS: number;
  /** Hears of a lost or refused connection: one line. */
  readonly onError: (message: string) => void;
}

const CONNECT_TIMEOUT_MS = 1000;
const RECONNECT_LIMIT_MS = 5000;
const QUEUE_LIMIT = 10_000;

/**
 * Connects, in the background: until then every lookup fails at once, which is a miss.
 */
export async function openRedis(options: RedisOptions): Promise<SharedStore> {
  const { createClient, createCluster, RESP_TYPES } = await loadClient();
  const socket = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectStrategy: (retries: number) =>
      Math.min(RECONNECT_LIMIT_MS, 50 * 2 ** Math.min(retries, 10)),
  };
  const common = { disableOfflineQueue: true, commandsQueueMaxLength: QUEUE_LIMIT };
  const client = options.cluster
    ? createCluster({
      rootNodes: options.urls.map((url) => ({ url })),
      defaults: { ...common, socket },
    })
    : createClient({ url: options.urls[0]!, ...common, socket });
  client.on("error", (error: Error) => options.onError(error.message));
  const connected = client.connect().catch((error: Error) => {
    options.onError(error.message);
  });
  void connected;
  const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const expire = options.expireS > 0
    ? { expiration: { type: "EX" as const, value: options.expireS } }
    : {};
  return {
    // One GET each, which the client sends in one go: MGET cannot cross a cluster's slots.
    get: (keys) =>
      Promise.all(
        keys.map((key) => binary.get(key) as unknown as Promise<Buffer | null>),
      ),
    async set(entries) {
      await Promise.all(
        entries.map(([key, value]) => client.set(key, Buffer.from(value), expire)),
      );
    },
    close: () => void client.destroy(),
  };
}

/** The package is CommonJS: bundled, its names are under `default` only. */
async function loadClient() {
  const found = await import("@redis/client");
  const named: unknown = found.createClient;
  return named === undefined ? found.default : found;
}
