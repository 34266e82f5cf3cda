import { openRedis } from "../../lib/daemon/redis_store.ts";
import {
  decodeValue,
  encodeValue,
  SharedEmbedder,
  type SharedStore,
  TierTwo,
} from "../../lib/daemon/tier_two.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { cli, freePort, redisServer, until } from "./redis_server.ts";
import { fakeModel, overSocket, testService } from "./support.ts";

async function store(urls: string[], cluster = false): Promise<SharedStore> {
  return await openRedis({ urls, cluster, expireS: 0, onError: () => {} });
}

const texts = Array.from({ length: 300 }, (_, n) => `text ${n}`);

/** Asks until the connection is there. */
async function ready(tier: TierTwo): Promise<void> {
  await until(async () => {
    await tier.get(["00"], 1);
    return tier.counts.misses > 0;
  });
}

Deno.test("what one host computed, another one reads from Redis", async () => {
  await using scratch = await tempFolder();
  const port = freePort();
  await using _server = await redisServer(scratch.path, port);
  const options = { timeoutMs: 2000, queueLimit: 1000 };
  const one = new TierTwo(await store([`redis://127.0.0.1:${port}`]), options);
  const two = new TierTwo(await store([`redis://127.0.0.1:${port}`]), options);
  await ready(one);
  await ready(two);
  const model = fakeModel(16), other = fakeModel(16);
  const computed = await new SharedEmbedder(model, one).embed(texts);
  await one.flush();
  const read = await new SharedEmbedder(other, two).embed([...texts, "new"]);
  assertEquals(read.matrix.slice(0, computed.matrix.length), computed.matrix);
  assertEquals(other.calls, [["new"]]);
  assertEquals([one.counts.written, two.counts.hits], [300, 300]);

  // A value that somebody bent, or put under another key, is a miss.
  const bend = "for _, key in ipairs(redis.call('keys', '*')) do " +
    "redis.call('setrange', key, 30, 'xxxxxxxx') end";
  await cli(port, "eval", bend, "0");
  const again = fakeModel(16);
  const healed = await new SharedEmbedder(again, two).embed(texts);
  assertEquals(healed.matrix, computed.matrix);
  assertEquals(again.calls[0]?.length, 300);
  assertTrue(two.counts.refused >= 300);
  await one.close();
  await two.close();
});

Deno.test("the service counts what the second tier had, and writes the rest before it ends", async () => {
  await using scratch = await tempFolder();
  const port = freePort();
  await using _server = await redisServer(scratch.path, port);
  const open = async () => {
    const options = { timeoutMs: 2000, queueLimit: 1000 };
    const tier = new TierTwo(await store([`redis://127.0.0.1:${port}`]), options);
    await ready(tier);
    return tier;
  };
  const ask = async (input: readonly string[]) => {
    const tier = await open(), model = fakeModel(16);
    await using service = await testService({ embedders: { test: model } });
    service.service.tier = tier;
    const body = JSON.stringify({ input });
    assertEquals((await overSocket(service.socket, "/v1/embeddings", body)).status, 200);
    const { texts } = service.service.metrics;
    await tier.close(); // at once: what is queued is written first
    return {
      shared: texts.get({ layer: "shared" }),
      model: texts.get({ layer: "model" }),
    };
  };
  assertEquals(await ask(texts), { shared: 0, model: 300 });
  assertEquals(await ask([...texts, "new"]), { shared: 300, model: 1 });
});

Deno.test("a value is bound to its key, every byte of it", () => {
  const vector = new Float32Array([1, -2, 3.5]);
  const value = encodeValue("k", vector);
  assertEquals(decodeValue("k", value, 3), vector);
  assertEquals(decodeValue("other", value, 3), null);
  assertEquals(decodeValue("k", value, 2), null);
  for (let bit = 0; bit < value.length * 8; bit++) {
    const bent = value.slice();
    bent[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(decodeValue("k", bent, 3), null);
  }
});

Deno.test("a Redis that dies costs misses, and is used again when it is back", async () => {
  await using scratch = await tempFolder();
  const port = freePort();
  const tier = new TierTwo(await store([`redis://127.0.0.1:${port}`]), {
    timeoutMs: 2000,
    queueLimit: 1000,
  });
  const model = fakeModel(4);
  const shared = new SharedEmbedder(model, tier);
  await shared.embed(["before there is a server"]);
  {
    await using server = await redisServer(scratch.path, port);
    await ready(tier);
    await shared.embed(["a", "b"]);
    await tier.flush();
    assertTrue(tier.counts.written >= 2);
    server.child.kill("SIGKILL");
    await server.child.status;
    for (let i = 0; i < 10; i++) await shared.embed([`while it is dead ${i}`]);
    assertEquals(model.calls.flat().length, 13);
    assertTrue(tier.counts.failures + tier.counts.skipped >= 10);
    assertTrue(!tier.breaker.closed);
  }
  await using _back = await redisServer(scratch.path, port);
  const written = tier.counts.written;
  await until(async () => {
    await shared.embed([crypto.randomUUID()]);
    return tier.counts.written > written;
  });
  await tier.close();
});

Deno.test("a Redis that stops answering costs the time limit, then nothing", async () => {
  await using scratch = await tempFolder();
  const port = freePort();
  await using server = await redisServer(scratch.path, port);
  const tier = new TierTwo(await store([`redis://127.0.0.1:${port}`]), {
    timeoutMs: 20,
    queueLimit: 10,
  });
  await ready(tier);
  server.child.kill("SIGSTOP");
  const model = fakeModel(4);
  const shared = new SharedEmbedder(model, tier);
  for (let i = 0; i < 50; i++) await shared.embed([`slow ${i}`]);
  assertEquals(model.calls.length, 50);
  assertTrue(tier.counts.failures <= 10, `${tier.counts.failures} lookups waited`);
  assertTrue(tier.counts.skipped >= 40);
  await tier.close();
});

Deno.test("a cluster of three nodes serves as the second tier, also when one dies", async () => {
  await using scratch = await tempFolder();
  const ports = [freePort(), freePort(), freePort()];
  const nodes: Awaited<ReturnType<typeof redisServer>>[] = [];
  await using stack = new AsyncDisposableStack();
  for (const port of ports) {
    const folder = `${scratch.path}/${port}`;
    await Deno.mkdir(folder);
    const bus = ["--cluster-port", String(freePort())];
    const cluster = [
      "--cluster-enabled",
      "yes",
      "--cluster-node-timeout",
      "2000",
      ...bus,
    ];
    nodes.push(stack.use(await redisServer(folder, port, ...cluster)));
  }
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  await sh("redis-cli", "--cluster", "create", ...addresses, "--cluster-yes");
  await until(async () => (await cli(ports[0]!, "cluster", "info")).includes("state:ok"));
  const urls = addresses.map((address) => `redis://${address}`);
  const tier = new TierTwo(await store(urls, true), {
    timeoutMs: 2000,
    queueLimit: 1000,
  });
  await ready(tier);
  const model = fakeModel(8);
  const shared = new SharedEmbedder(model, tier);
  const computed = await shared.embed(texts);
  await tier.flush();
  assertEquals(tier.counts.written, 300);
  const sizes = await Promise.all(ports.map((port) => cli(port, "dbsize")));
  assertEquals(sizes.reduce((sum, size) => sum + Number(size), 0), 300);
  assertTrue(sizes.every((size) => Number(size) > 0));
  const again = await shared.embed(texts);
  assertEquals(again.matrix, computed.matrix);
  assertEquals(model.calls.length, 1);
  nodes[1]!.child.kill("SIGKILL");
  await nodes[1]!.child.status;
  const without = await shared.embed(texts);
  assertEquals(without.matrix, computed.matrix);
  await tier.close();
});
