/** The attacks of The Update Framework's list that aim at the index. */
import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { Layout } from "../../lib/base/layout.ts";
import { redirected } from "../../lib/plugin/fetch_source.ts";
import { Repositories } from "../../lib/plugin/repositories.ts";
import { updateRepository } from "../../lib/plugin/repository_update.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";
import {
  endless,
  generateSecretKey,
  IMPATIENT,
  index,
  indexPlugin,
  publicOf,
  publish,
  type SecretKey,
  serve,
  signedIndex,
  type TestServer,
} from "./kit.ts";

interface Setting {
  server: TestServer;
  layout: Layout;
  update: (now?: Date) => ReturnType<typeof updateRepository>;
}

/** A repository of some keys, served and added; `run` attacks it. */
async function setting(
  keys: SecretKey[],
  threshold: number,
  run: (s: Setting) => Promise<void>,
): Promise<void> {
  await using folder = await tempFolder();
  await using server = serve();
  const layout = new Layout(folder.path);
  new Repositories(layout).add("hub", server.url, keys.map(publicOf), {
    threshold,
    allowHttp: true,
    trust: new TrustStore(layout),
  });
  const update = (now?: Date) =>
    updateRepository(new Repositories(layout), new TrustStore(layout), "hub", {
      patience: IMPATIENT,
      ...(now && { now }),
    });
  await run({ server, layout, update });
}

async function refused(update: Promise<unknown>, code: string): Promise<void> {
  const error = await assertRejects(() => update, OpError);
  assertEquals(error.code, code, error.message);
}

Deno.test("a signed index is taken once and remembered", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, layout, update }) => {
    const plugins = { lxc: indexPlugin("lxc", ["1.0.0"]) };
    publish(server, signedIndex(index({ plugins }), [key]));
    assertEquals((await update()).changed, true);
    assertEquals((await update()).changed, false);
    const accepted = new Repositories(layout).accepted("hub")!;
    assertEquals(accepted.counter, 5);
    assertEquals(accepted.signed_by, [key.id]);
    assertEquals(Object.keys(accepted.index.plugins), ["lxc"]);
  });
});

Deno.test("rollback: an index with a lower counter is refused", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, layout, update }) => {
    publish(server, signedIndex(index({ counter: 5 }), [key]));
    await update();
    publish(server, signedIndex(index({ counter: 4 }), [key]));
    await refused(update(), "older_index");
    // The same counter with other content is a lie to one of two.
    const plugins = { lxc: indexPlugin("lxc", ["9.0.0"]) };
    publish(server, signedIndex(index({ counter: 5, plugins }), [key]));
    await refused(update(), "older_index");
    assertEquals(new Repositories(layout).accepted("hub")!.index.plugins, {});
    publish(server, signedIndex(index({ counter: 6 }), [key]));
    assertEquals((await update()).counter, 6);
  });
});

Deno.test("freeze: an expired index is refused, also one that was accepted before", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, update }) => {
    publish(server, signedIndex(index({ expires: "2026-02-01T00:00:00Z" }), [key]));
    await update(new Date("2026-01-31T23:59:59Z"));
    await refused(update(new Date("2026-02-01T00:00:00Z")), "expired_index");
  });
});

Deno.test("a wrong key, a missing signature, changed content: refused unparsed", async () => {
  const key = generateSecretKey(), stranger = generateSecretKey();
  await setting([key], 1, async ({ server, layout, update }) => {
    await refused(update(), "no_index");
    publish(server, signedIndex(index(), [stranger]));
    await refused(update(), "unknown_key");
    const good = signedIndex(index(), [key]);
    publish(server, good);
    server.files.set("index.json", new TextEncoder().encode("{ not json"));
    await refused(update(), "bad_signature");
    publish(server, good);
    server.files.delete("index.json.minisig");
    await refused(update(), "below_threshold");
    assertEquals(new Repositories(layout).accepted("hub"), null);
  });
});

Deno.test("the index of another repository by the same author is refused", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, update }) => {
    publish(server, signedIndex(index(), [key]));
    await update();
    publish(server, signedIndex(index({ repository: "testing", counter: 9 }), [key]));
    await refused(update(), "other_repository");
  });
});

Deno.test("key compromise below the threshold: one of two keys signs nothing", async () => {
  const [a, b, c] = [generateSecretKey(), generateSecretKey(), generateSecretKey()];
  await setting([a, b, c], 2, async ({ server, layout, update }) => {
    publish(server, signedIndex(index(), [a]));
    await refused(update(), "below_threshold");
    // The same signature under every name still is one key's.
    const one = server.files.get("index.json.minisig")!;
    for (const key of [b, c]) server.files.set(`index.json.${key.id}.minisig`, one);
    await refused(update(), "below_threshold");
    publish(server, signedIndex(index(), [a, c]));
    assertEquals([...(await update()).signedBy].sort(), [a.id, c.id].sort());
    // A wrong signature beside enough right ones does no harm.
    publish(server, signedIndex(index({ counter: 6 }), [a, c]));
    server.files.set(`index.json.${b.id}.minisig`, one);
    assertEquals((await update()).counter, 6);
    new TrustStore(layout).revoke(c.id, "stolen");
    publish(server, signedIndex(index({ counter: 7 }), [a, c]));
    await refused(update(), "below_threshold");
    new TrustStore(layout).revoke(a.id, "stolen");
    await refused(update(), "below_threshold");
  });
});

Deno.test("a key that the index revokes is refused from then on, everywhere", async () => {
  const [a, b] = [generateSecretKey(), generateSecretKey()];
  await setting([a, b], 1, async ({ server, layout, update }) => {
    publish(server, signedIndex(index({ revoked_keys: [b.id] }), [a]));
    assertEquals((await update()).revoked, [b.id]);
    publish(server, signedIndex(index({ counter: 6 }), [b]));
    await refused(update(), "unknown_key");
    const trust = new TrustStore(layout);
    assertThrows(() => trust.trust(publicOf(b)), InputError, /revoked/);
    assertThrows(
      () =>
        new Repositories(layout).add("other", server.url, [publicOf(b)], {
          allowHttp: true,
          trust,
        }),
      InputError,
      /revoked/,
    );
  });
});

Deno.test("endless data: a server that never stops is left", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, update }) => {
    const piece = new Uint8Array(1024 * 1024).fill(0x20);
    server.intercept = (_, path) =>
      path === "index.json" ? new Response(endless(piece)) : undefined;
    await refused(update(), "too_large");
  });
});

Deno.test("slow retrieval: a server that drips or falls silent is left", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, update }) => {
    server.intercept = () => new Response(endless(new Uint8Array([0x20]), 5));
    await refused(update(), "too_slow");
    server.intercept = () =>
      new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array(1)) }));
    await refused(update(), "too_slow");
  });
});

Deno.test("a signed index with hostile content is refused whole", async () => {
  const key = generateSecretKey();
  const lxc = indexPlugin("lxc", ["1.0.0"]);
  const version = lxc.versions[0]!;
  const bad = [
    { lxc: { ...lxc, description: "\u001b[2Jpainted" } },
    { lxc: { ...lxc, author: "a\nb" } },
    { "../x": lxc },
    { lxc: { ...lxc, versions: [{ ...version, file: "../../etc/passwd" }] } },
    { lxc: { ...lxc, versions: [{ ...version, file: "net/net-v1.0.0.btrfs.zst" }] } },
    { lxc: { ...lxc, versions: [version, version] } },
    { lxc: { ...lxc, versions: [{ ...version, size: 1e15 }] } },
    { lxc: { ...lxc, versions: [{ ...version, version: "1" }] } },
    { lxc: { ...lxc, versions: [{ ...version, dependencies: ["a b"] }] } },
  ];
  await setting([key], 1, async ({ server, update }) => {
    for (const plugins of bad) {
      const content = index({ plugins: plugins as never });
      publish(server, signedIndex(content, [key]));
      await refused(update(), "bad_index");
    }
    publish(server, signedIndex({ ...index(), counter: -1 }, [key]));
    await refused(update(), "bad_index");
  });
});

Deno.test("redirects go to no less safe a place; http is only on request", async () => {
  const key = generateSecretKey();
  await setting([key], 1, async ({ server, layout, update }) => {
    for (const location of ["file:///etc/passwd", "data:,x", "ftp://x/"]) {
      server.intercept = () => new Response(null, { status: 302, headers: { location } });
      await refused(update(), "bad_redirect");
    }
    server.intercept = (request) => Response.redirect(request.url);
    await refused(update(), "bad_redirect");
    const leads = (url: string, to: string | null, http: boolean) =>
      redirected(new URL(url), to, http).href;
    for (const http of [true, false]) {
      assertThrows(() => leads("https://a/", "http://a/", http), OpError, /less safe/);
      assertThrows(() => leads("https://a/", null, http), OpError, /to nowhere/);
      assertThrows(() => leads("https://a/", "https://[", http), OpError, /redirect to/);
      assertEquals(leads("https://a/b/", "//c/d", http), "https://c/d");
      assertEquals(leads("http://a/", "https://a/", http), "https://a/");
    }
    assertEquals(leads("http://a/", "http://b/", true), "http://b/");
    assertThrows(() => leads("http://a/", "http://b/", false), OpError, /less safe/);
    const trust = new TrustStore(layout);
    const add = (url: string) =>
      new Repositories(layout).add("x", url, [publicOf(key)], { trust });
    for (
      const url of ["http://example.org/", "ftp://a/", "https://u:p@a/", "rel", ""]
    ) {
      assertThrows(() => add(url), InputError);
    }
    assertEquals(add("/srv/plug ins").url, "file:///srv/plug%20ins/");
  });
});

Deno.test("repositories: thresholds that cannot be met and other URLs are refused", async () => {
  const [a, b] = [generateSecretKey(), generateSecretKey()];
  await setting([a], 1, ({ layout, server }) => {
    const trust = new TrustStore(layout);
    const add = (url: string, threshold: number) =>
      new Repositories(layout).add("hub", url, [publicOf(a), publicOf(b), publicOf(b)], {
        threshold,
        allowHttp: true,
        trust,
      });
    assertThrows(() => add(server.url, 3), InputError, /3 of 2/);
    assertThrows(() => add(server.url, 0), InputError);
    assertThrows(() => add("https://elsewhere.example/", 1), InputError, /already/);
    assertEquals(add(server.url, 2).keys.length, 2);
    new Repositories(layout).remove("hub");
    assertEquals(new Repositories(layout).all, []);
    assertThrows(() => new Repositories(layout).get("hub"), InputError);
    return Promise.resolve();
  });
});

Deno.test("a file repository works like a served one", async () => {
  await using folder = await tempFolder();
  const key = generateSecretKey();
  const layout = new Layout(`${folder.path}/root`);
  const at = `${folder.path}/my plugins`;
  await Deno.mkdir(at);
  for (const [path, bytes] of signedIndex(index(), [key])) {
    await Deno.writeFile(`${at}/${path}`, bytes);
  }
  const trust = new TrustStore(layout), repositories = new Repositories(layout);
  repositories.add("local", at, [publicOf(key)], { trust });
  const result = await updateRepository(repositories, trust, "local");
  assertEquals(result.counter, 5);
  await Deno.remove(`${at}/index.json`);
  await Deno.mkdir(`${at}/index.json`);
  await assertRejects(() => updateRepository(repositories, trust, "local"), InputError);
});

Deno.test("one key must not vouch twice under two ids", () => {
  const key = generateSecretKey();
  const twin = { id: "0123456789ABCDEF", key: key.key };
  // Two ids with one secret would make 2-of-2 a 1-of-1.
  const layout = new Layout("/nonexistent");
  assertThrows(
    () =>
      new Repositories(layout).add("x", "https://a/", [publicOf(key), twin], {
        threshold: 2,
        trust: new TrustStore(layout),
      }),
    InputError,
    /same key/,
  );
});

Deno.test("a damaged file of ours is named, not guessed at", async () => {
  await using folder = await tempFolder();
  const layout = new Layout(folder.path);
  await Deno.mkdir(layout.meta);
  await Deno.writeTextFile(`${layout.meta}/trust.json`, '{"format":1,"keys":[{}]}');
  assertThrows(() => new TrustStore(layout), InputError, /trust\.json: \/keys\/0\/id/);
  await Deno.writeTextFile(`${layout.meta}/repositories.json`, "{");
  assertThrows(() => new Repositories(layout), InputError, /Not JSON/);
});
