import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { type Footprinter, Footprints } from "../../lib/chain/footprints.ts";
import { listBlocks, parseRange, searchText } from "../../lib/chain/search.ts";
import { Layout } from "../../lib/base/layout.ts";
import { InputError } from "../../lib/base/errors.ts";
import type { RecordedAction } from "../../lib/base/recorder.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

const ACTIONS: RecordedAction[] = [
  {
    category: "state",
    action: "apply",
    subject: "firewalld",
    data: { method: "addPort", port: 80, protocol: "tcp", note: "open port 80 for http" },
  },
  { category: "plugin", action: "install", subject: "lxc@1.2.0", data: { digest: "ab" } },
  {
    category: "snapshot",
    action: "prune",
    subject: "cache@2025-01-15-10:00",
    data: { reason: "beyond 24 hourly" },
  },
  { category: "trust", action: "revoke", subject: "key RWQ1", data: { by: "alice" } },
];

/** The chain's view of a real cache with the builtin model. */
async function footprinter(folder: string): Promise<Footprinter & Disposable> {
  await Deno.mkdir(folder, { recursive: true });
  const cache = EmbeddingCache.open(folder);
  const embedder = new BuiltinEmbedder();
  const { digest, dimensions } = embedder.identity;
  return {
    identity: digest,
    dimensions,
    async embed(texts) {
      const { matrix } = await cache.getOrEmbed(texts, embedder);
      return texts.map((_, i) => matrix.slice(i * dimensions, (i + 1) * dimensions));
    },
    [Symbol.dispose]: () => cache.close(),
  };
}

async function recorded() {
  const scratch = await tempFolder();
  const layout = new Layout(scratch.path);
  const embed = await footprinter(layout.embeddings);
  using recorder = new ChainRecorder(layout, { who: "alice", footprinter: embed });
  for (const action of ACTIONS) await recorder.record(action);
  return { scratch, layout, embed };
}

Deno.test("a question finds the block that answers it, by vectors of the cache", async () => {
  const { scratch, layout, embed } = await recorded();
  await using _ = scratch;
  using _embed = embed;
  using footprints = new Footprints(layout.chainVectors, embed);
  assertEquals(footprints.count, ACTIONS.length + 1); // block 0 too
  using reader = new ChainReader(layout.timing);
  const ask = async (question: string) =>
    (await footprints.search(reader, question, 2)).map(({ block }) =>
      block.header.what
    )[0];
  assertEquals(await ask("who opened port 80"), "firewalld");
  assertEquals(await ask("revoked keys of alice"), "key RWQ1");
  const only = await footprints.search(reader, "port 80", 5, { category: "plugin" });
  assertEquals(only.map(({ block }) => block.header.what), ["lxc@1.2.0"]);
});

Deno.test("vectors that are damaged, cut or missing are made again", async () => {
  const { scratch, layout, embed } = await recorded();
  await using _ = scratch;
  using _embed = embed;
  using reader = new ChainReader(layout.timing);
  const path = new Footprints(layout.chainVectors, embed).path;
  const whole = await Deno.readFile(path);
  const bent = whole.slice();
  bent[48 + 1544 + 700]! ^= 4;
  for (
    const bytes of [bent, whole.slice(0, 3000), whole.slice(0, 20), new Uint8Array()]
  ) {
    await Deno.writeFile(path, bytes);
    using footprints = new Footprints(layout.chainVectors, embed);
    const [best] = await footprints.search(reader, "who opened port 80", 1);
    assertEquals(best?.block.header.what, "firewalld");
    assertEquals(await Deno.readFile(path), whole);
  }
});

Deno.test("a footprint that fails is told and caught up later, the block stands", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(scratch.path);
  const notices: string[] = [];
  const broken: Footprinter = {
    identity: "broken",
    dimensions: 4,
    embed: () => Promise.reject(new Error("the model is gone")),
  };
  using recorder = new ChainRecorder(layout, {
    footprinter: broken,
    onNotice: (notice) => notices.push(notice),
  });
  await recorder.record(ACTIONS[0]!);
  assertTrue(notices[0]?.includes("the model is gone"));
  using reader = new ChainReader(layout.timing);
  assertEquals(reader.size, 2);
});

Deno.test("plain search, filters and ranges", async () => {
  const { scratch, layout, embed } = await recorded();
  await using _ = scratch;
  using _embed = embed;
  using reader = new ChainReader(layout.timing);
  const words = await searchText(reader, "PORT 80", 10);
  assertEquals(words.map(({ block, score }) => [block.header.number, score])[0], [1, 1]);
  assertEquals(await searchText(reader, "  ", 10), []);
  const numbers = async (filter: object, limit = 10) =>
    (await listBlocks(reader, filter, limit)).map(({ header }) => header.number);
  assertEquals(await numbers({}), [0, 1, 2, 3, 4]);
  assertEquals(await numbers({}, 2), [3, 4]);
  assertEquals(await numbers({ what: "LXC" }), [2]);
  assertEquals(await numbers({ who: "alice", action: "prune" }), [3]);
  assertEquals(await numbers({ since: new Date(Date.now() + 60_000) }), []);
  assertEquals(await numbers(parseRange("1..2")), [1, 2]);
  assertEquals(await numbers(parseRange("3..")), [3, 4]);
  assertEquals(await numbers(parseRange("..1")), [0, 1]);
  assertEquals(await numbers(parseRange("2")), [2]);
  for (const bad of ["", "..", "a", "1-2", "-1", "1...2"]) {
    assertThrows(() => parseRange(bad), InputError);
  }
});
